"""Extensions built as their authors build them, audited, installed, loaded and called."""
