"""The console's answers in HTML, in English and Chinese."""
