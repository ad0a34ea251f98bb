"""The question, the tool, and what it gives."""

from gateway.core import Json

QUESTION: Json = {
    "role": "user",
    "content": "What is the weather in Paris? Ask the tool, then answer in one sentence.",
}
NAME = "get_weather"
FUNCTION: Json = {
    "name": NAME,
    "description": "The weather in a city, now.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
RESULT = "sunny, 21 degrees Celsius"
