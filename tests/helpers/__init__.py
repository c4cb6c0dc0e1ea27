"""What tests of several wings share. No test file imports another."""
