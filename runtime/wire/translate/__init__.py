"""Between chat completions, Anthropic's Messages and OpenAI's Responses; chat is the form in the middle."""
