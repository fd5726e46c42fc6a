"""llm, the command line: prompts, templates of schemas, tools, Responses, embeddings."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cells import BASE_URL, EMBEDDER, KEY, MODEL, PERSON, WEATHER, cell, main

HOME = Path(tempfile.mkdtemp())
MODELS = "".join(
    f"- model_id: {name}\n  model_name: {json.dumps(MODEL)}\n  api_base: {BASE_URL}\n  api_key_name: temper\n"
    f"  supports_schema: true\n  supports_tools: true\n{more}"
    for name, more in (("chat", ""), ("responses", "  responses: true\n"))
) + (
    f"- model_id: text\n  model_name: {json.dumps(MODEL)}\n  api_base: {BASE_URL}\n  api_key_name: temper\n"
    "  completion: true\n"
)
TOOL = 'def get_weather(city: str) -> str:\n    "Tell the weather in a city."\n    return f"It is sunny in {city}."\n'


def llm(*arguments, text=None):
    """Return what the command prints."""
    HOME.joinpath("extra-openai-models.yaml").write_text(MODELS)
    HOME.joinpath("keys.json").write_text(json.dumps({"temper": KEY, "openai": KEY}))
    env = {**os.environ, "LLM_USER_PATH": str(HOME)}
    command = [Path(sys.executable).parent / "llm", *arguments]
    done = subprocess.run(command, env=env, input=text or "", capture_output=True, text=True, timeout=100)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-600:])
    return done.stdout


for each in ("chat", "responses"):

    @cell(f"{each}: a prompt, streamed and whole")
    def prompt(model=each):
        room = ["-o", "max_tokens", "20", "-o", "temperature", "0"]
        assert llm("-m", model, "Hello", *room) == llm("-m", model, "--no-stream", "Hello", *room)

    @cell(f"{each}: --schema")
    def schema(model=each):
        found = llm("-m", model, "--schema", "name, age int", PERSON, "-o", "temperature", "0")
        assert json.loads(found) == {"name": "Ann", "age": 30}

    @cell(f"{each}: --schema-multi")
    def schema_multi(model=each):
        found = llm("-m", model, "--schema-multi", "name, age int", PERSON, "-o", "temperature", "0")
        assert all(each.keys() == {"name", "age"} for each in json.loads(found)["items"])

    @cell(f"{each}: --functions, a tool is called")
    def tools(model=each):
        found = llm("-m", model, "--functions", TOOL, "--td", WEATHER, "-o", "temperature", "0")
        assert "sunny in Oslo" in found

    @cell(f"{each}: -c goes on with a conversation")
    def conversation(model=each):
        llm("-m", model, "Hello", "-s", "Be brief.", "-o", "max_tokens", "9")
        assert llm("-c", "And now?", "-o", "max_tokens", "9")


@cell("text completions")
def completions():
    assert llm("-m", "text", "What is", "-o", "max_tokens", "5")


@cell("embed, embed-multi, similar")
def embed():
    sys_path = Path(tempfile.mkdtemp())
    sys_path.joinpath("embedder.py").write_text(
        "import llm\nfrom llm.default_plugins.openai_models import OpenAIEmbeddingModel\n"
        "@llm.hookimpl\ndef register_embedding_models(register):\n"
        f"    register(OpenAIEmbeddingModel('ours', {EMBEDDER!r}))\n"
    )
    os.environ["LLM_LOAD_PLUGINS"] = ""
    code = (
        f"import sys; sys.path.insert(0, {str(sys_path)!r})\nimport llm, llm.plugins, embedder\n"
        "llm.plugins.pm.register(embedder, 'embedder')\nfrom llm.cli import cli; cli()"
    )

    def command(*arguments):
        env = {**os.environ, "LLM_USER_PATH": str(HOME), "OPENAI_BASE_URL": BASE_URL, "OPENAI_API_KEY": KEY}
        run = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(run, env=env, input="", capture_output=True, text=True, timeout=100)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-600:])
        return done.stdout

    assert len(json.loads(command("embed", "-m", "ours", "-c", "the red key"))) == 16
    table = HOME / "table.csv"
    table.write_text("id,text\n1,the red key\n2,the blue kettle\n")
    command("embed-multi", "keys", str(table), "-m", "ours", "--store")
    assert json.loads(command("similar", "keys", "-c", "the red key").splitlines()[0])["id"] == "1"


main()
