"""Redirect mode: a pod's TCP goes through its sidecar by nftables, unknown to the application.

`plan` says what is redirected and writes it as nftables text, `exclusions` reads a user's wishes,
`kernel` applies, removes and verifies; ``python -m sidecar.redirect`` is the command.
"""
