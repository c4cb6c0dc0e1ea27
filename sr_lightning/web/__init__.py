"""The demo's page in the browser: what it looks like, and what stands behind it."""
