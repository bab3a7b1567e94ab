"""How far a model's answers move when the same question is written differently."""
