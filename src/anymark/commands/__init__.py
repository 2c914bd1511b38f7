"""The subcommands of `anymark`, one module each; `anymark.cli` imports only the one that is called."""
