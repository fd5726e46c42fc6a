"""What a person can put right."""


class UserError(Exception):
    """Something outside the program is not as needed: one sentence that says what, and one that says what to do."""
