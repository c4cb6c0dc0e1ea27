"""Web page of the demo, and the code behind it."""
