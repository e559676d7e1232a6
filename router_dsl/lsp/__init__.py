"""What an editor asks about policies, answered with spans: pure, whatever protocol the editor speaks."""
