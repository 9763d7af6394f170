"""The command line, a file a verb; `verbs.VERBS` lists them."""
