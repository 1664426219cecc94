"""docs/states.md says what `gateway.lifecycle` does."""

from tests.store.states_document import PATH, render


def test_the_page_about_states_is_up_to_date() -> None:
    assert PATH.read_text(encoding="utf-8") == render(), "run python -m tests.store.states_document"
