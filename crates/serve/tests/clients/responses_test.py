"""The Responses API as OpenAI's own client meets it: responses_test.py PROGRAM starts the server with the built-in model and asks."""

import json
import re
import subprocess
import sys
import unittest
from typing import Literal

import openai
from pydantic import BaseModel, Field

STORY = "Tell me a story."


class Weather(BaseModel):
    """What the weather is in a city."""

    city: Literal["Oslo", "Rome"]
    days: int = Field(ge=0, le=9)


class Responses(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        command = [PROGRAM, "serve", "demo", "--port", "0"]
        cls.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        url = re.search(r"http://\S+", cls.process.stderr.readline()).group(0)
        # What is no member of the client's own types fails here.
        options = {"api_key": "none", "max_retries": 0, "_strict_response_validation": True}
        cls.client = openai.OpenAI(base_url=f"{url}/v1", **options)
        cls.api = cls.client.responses

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.process.terminate()
        assert cls.process.wait(timeout=20) == 0
        cls.process.stderr.close()

    def ask(self, input=STORY, **more):
        return self.api.create(**{"model": "demo", "input": input, "temperature": 0, "max_output_tokens": 20, **more})

    def test_a_response_has_its_settings(self):
        response = self.ask(metadata={"a": "b"}, instructions="Be brief.")
        self.assertEqual((response.status, response.incomplete_details.reason), ("incomplete", "max_output_tokens"))
        self.assertEqual((response.metadata, response.instructions), ({"a": "b"}, "Be brief."))
        self.assertEqual((response.usage.output_tokens, response.max_output_tokens), (20, 20))
        self.assertTrue(len(response.output_text) > 20)
        self.assertEqual(self.ask(max_output_tokens=400, extra_body={"stop": ["."]}).status, "completed")

    def test_a_stream_is_the_response(self):
        whole = self.ask()
        with self.api.stream(model="demo", input=STORY, temperature=0, max_output_tokens=400) as stream:
            events = list(stream)
            final = stream.get_final_response()
        deltas = [event for event in events if event.type == "response.output_text.delta"]
        self.assertEqual("".join(event.delta for event in deltas), final.output_text)
        self.assertEqual(deltas[-1].snapshot, final.output_text)
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        self.assertEqual([event.type for event in events][:4], [
            "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        ])
        self.assertEqual(events[-1].type, "response.completed")
        self.assertTrue(final.output_text.startswith(whole.output_text))
        last = list(self.ask(stream=True))[-1]
        self.assertEqual((last.type, last.response.output_text), ("response.incomplete", whole.output_text))

    def test_logprobs_add_up_to_the_text(self):
        response = self.ask(include=["message.output_text.logprobs"], top_logprobs=2)
        logprobs = response.output[0].content[0].logprobs
        self.assertEqual(b"".join(bytes(one.bytes) for one in logprobs).decode(), response.output_text)
        self.assertTrue(all(len(one.top_logprobs) == 2 for one in logprobs))

    def test_a_conversation_goes_on_and_ends(self):
        first = self.ask()
        second = self.ask("And then?", previous_response_id=first.id)
        self.assertGreater(second.usage.input_tokens_details.cached_tokens, first.usage.input_tokens)
        told = [{"role": "user", "content": STORY}, *first.output, {"role": "user", "content": "And then?"}]
        self.assertEqual(self.ask(told).output_text, second.output_text)
        self.assertEqual(self.api.retrieve(first.id).output, first.output)
        items = list(self.api.input_items.list(second.id, limit=2, order="asc"))
        self.assertEqual([item.content[0].text for item in items], [STORY, first.output_text, "And then?"])
        self.assertEqual(items[1], first.output[0])
        with self.assertRaises(openai.BadRequestError):
            self.api.cancel(second.id)
        self.api.delete(first.id)
        for ask in [lambda: self.api.retrieve(first.id), lambda: self.ask(previous_response_id=first.id)]:
            with self.assertRaises(openai.NotFoundError):
                ask()
        self.ask(previous_response_id=second.id)
        with self.assertRaises(openai.NotFoundError):
            self.api.retrieve(self.ask(store=False).id)

    def test_an_answer_is_parsed(self):
        ask = {"model": "demo", "input": STORY, "text_format": Weather, "temperature": 0, "max_output_tokens": 400}
        response = self.api.parse(**ask)
        parsed = response.output_parsed
        for back in (response.output, [item.model_dump() for item in response.output]):
            self.ask([{"role": "user", "content": STORY}, *back, {"role": "user", "content": "Why?"}])
        self.assertTrue(parsed.city in ("Oslo", "Rome") and 0 <= parsed.days <= 9)
        with self.api.stream(**ask) as stream:
            self.assertIsInstance(stream.get_final_response().output_parsed, Weather)

    def test_tools_are_called_and_told_what_came_of_it(self):
        tool = openai.pydantic_function_tool(Weather, name="weather")["function"]
        ask = {"tools": [{"type": "function", **tool}], "max_output_tokens": 400}
        response = self.ask(**ask, tool_choice="required", parallel_tool_calls=False)
        (call,) = response.output
        self.assertEqual((call.type, call.name, call.status), ("function_call", "weather", "completed"))
        Weather.model_validate_json(call.arguments)
        events = list(self.ask(**ask, tool_choice="required", parallel_tool_calls=False, stream=True))
        arguments = "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta")
        Weather.model_validate_json(arguments)
        result = {"type": "function_call_output", "call_id": call.call_id, "output": json.dumps({"sky": "blue"})}
        stored = self.ask([result], **ask, previous_response_id=response.id)
        told = [{"role": "user", "content": STORY}, *response.output, result]
        self.assertEqual(stored.output_text, self.ask(told, **ask).output_text)

    def test_errors_name_what_is_wrong(self):
        for wrong, name in [
            ({"background": True}, "background"),
            ({"tools": [{"type": "web_search"}]}, "web_search"),
            ({"include": ["reasoning.encrypted_content"]}, "reasoning.encrypted_content"),
            ({"extra_body": {"unknown_field": 1}}, "unknown_field"),
            ({"input": "word " * 5000}, "context"),
        ]:
            with self.assertRaises(openai.BadRequestError) as refused:
                self.ask(**wrong)
            self.assertIn(name, refused.exception.message)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
