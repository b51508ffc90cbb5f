"""Third stage: a detection plan becomes searches, watches and the documents our own runner reads."""
