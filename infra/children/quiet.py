"""What each of our processes has in its environment, beside what is its own."""

QUIET = {
    "PYTHONUNBUFFERED": "1",
    # nothing is downloaded, nothing is reported
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # contended OpenMP threads that spin are twenty times slower
    "KMP_BLOCKTIME": "0",
    "OMP_WAIT_POLICY": "PASSIVE",  # the same for the GNU OpenMP that torch ships
}
