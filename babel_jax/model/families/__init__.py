"""Families of models that others have made: what their configs and tensors are called, and what that is here."""
