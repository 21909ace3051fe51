"""The server as OpenAI's own client meets it."""

import json
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
from pydantic import BaseModel, Field

from served import STORY, Case, Server, with_key

class Person(BaseModel):
    age: int = Field(ge=0, le=120)


# Strict, as the clients' own helpers make them.
TOOL = {"type": "function", "function": {"name": "weather", "strict": True, "parameters": {
    "type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"], "additionalProperties": False}}}
EMBED = Path(__file__).parents[3] / "engine/tests/embed"


class OpenAi(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = openai.OpenAI(base_url=f"{cls.server.url}/v1", api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        super().tearDownClass()

    def chat(self, **more):
        return self.client.chat.completions.create(
            **{"model": "demo", "messages": STORY, "temperature": 0, "max_tokens": 20, **more}
        )

    def test_models_are_listed(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["demo"])
        self.assertEqual(self.client.models.retrieve("demo").object, "model")

    def test_a_chat_streamed_is_the_chat(self):
        whole = self.chat()
        self.assertEqual(whole.choices[0].finish_reason, "length")
        self.assertEqual(whole.usage.completion_tokens, 20)
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(chunks[-1].usage.completion_tokens, 20)

    def test_parts_stops_seeds_and_several_answers(self):
        parts = [{"role": "user", "content": [{"type": "text", "text": STORY[0]["content"]}]}]
        self.assertEqual(self.chat(messages=parts).choices, self.chat().choices)
        first = self.chat(n=2, temperature=1, seed=3)
        self.assertEqual(first.choices, self.chat(n=2, temperature=1, seed=3).choices)
        self.assertNotEqual(first.choices[0].message.content, first.choices[1].message.content)
        stopped = self.chat(stop=["."], max_tokens=200)
        self.assertEqual(stopped.choices[0].finish_reason, "stop")
        self.assertNotIn(".", stopped.choices[0].message.content)

    def test_logprobs_add_up_to_the_text(self):
        choice = self.chat(logprobs=True, top_logprobs=3).choices[0]
        tokens = choice.logprobs.content
        self.assertEqual(b"".join(bytes(t.bytes) for t in tokens).decode().strip(), choice.message.content.strip())
        for token in tokens:
            best = max(token.top_logprobs, key=lambda top: top.logprob)
            self.assertEqual((token.token, len(token.top_logprobs)), (best.token, 3))
            self.assertLessEqual(token.logprob, 0)

    def test_completions(self):
        ask = {"model": "demo", "prompt": "Once upon", "max_tokens": 8, "temperature": 0}
        whole = self.client.completions.create(**ask).choices[0].text
        streamed = self.client.completions.create(**ask, stream=True)
        self.assertEqual("".join(chunk.choices[0].text for chunk in streamed), whole)
        self.assertTrue(self.client.completions.create(**ask, echo=True).choices[0].text.startswith("Once upon"))

    def test_answers_go_back_as_they_came(self):
        on = {"role": "user", "content": "And then?"}
        message = self.chat().choices[0].message
        told = [self.chat(messages=[*STORY, back, on]).choices for back in (message, message.model_dump())]
        self.assertEqual(told[0], told[1])
        ask = {"model": "demo", "messages": STORY, "max_tokens": 200, "temperature": 0, "stop": ["."]}
        with self.client.chat.completions.stream(**ask) as stream:
            streamed = stream.get_final_completion().choices[0].message
        self.assertGreater(self.chat(messages=[*STORY, streamed.model_dump(), on]).usage.completion_tokens, 0)
        ask = {"tools": [TOOL], "max_tokens": 200, "parallel_tool_calls": False}
        called = self.chat(**ask, tool_choice="required").choices[0].message
        (call,) = called.tool_calls
        self.assertIn(json.loads(call.function.arguments)["city"], ["Oslo", "Rome"])
        result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
        for back in (called, called.model_dump()):
            self.assertEqual(self.chat(messages=[*STORY, back, result], tools=[TOOL]).choices[0].message.role, "assistant")
        ask = {"model": "demo", "messages": STORY, "max_tokens": 200, "temperature": 0}
        parsed = self.client.chat.completions.parse(**ask, response_format=Person).choices[0].message
        self.assertLessEqual(parsed.parsed.age, 120)
        self.chat(messages=[*STORY, parsed.model_dump(), on])

    def test_what_changes_nothing_is_taken(self):
        accepted = {"user": "u", "metadata": {"a": "b"}, "service_tier": "flex", "safety_identifier": "s",
                    "prompt_cache_key": "k", "store": False, "modalities": ["text"], "verbosity": "medium"}
        self.assertEqual(self.chat(**accepted).choices, self.chat().choices)
        with self.assertRaises(openai.BadRequestError) as refused:
            self.chat(store=True)
        self.assertEqual(refused.exception.param, "store")

    def test_what_is_not_known_is_refused_with_its_place(self):
        story = STORY[0]["content"]
        for more, place in [
            ({"messages": [{"role": "user", "content": story, "colour": 1}]}, "messages[0].colour"),
            ({"messages": [{"role": "user", "content": [{"type": "text", "text": story, "foo": 1}]}]},
             "messages[0].content[0].foo"),
            ({"tools": [{**TOOL, "function": {**TOOL["function"], "foo": 1}}]}, "tools[0].function.foo"),
            ({"response_format": {"type": "json_object", "foo": 1}}, "response_format.foo"),
            ({"stream_options": {"foo": 1}}, "stream_options.foo"),
        ]:
            with self.assertRaises(openai.BadRequestError) as refused:
                self.chat(**more)
            self.assertEqual(refused.exception.param, place)
            self.assertIn(place, refused.exception.message)

    def test_errors_have_their_types(self):
        with self.assertRaises(openai.NotFoundError):
            self.chat(model="other")
        with self.assertRaises(openai.BadRequestError) as refused:
            self.chat(extra_body={"unknown_field": 1})
        self.assertIn("unknown_field", refused.exception.message)
        with self.assertRaises(openai.BadRequestError) as refused:
            self.chat(messages=[{"role": "user", "content": "word " * 5000}])
        self.assertIn("context", refused.exception.message)

    def test_many_at_once_are_those_alone(self):
        prompts = [f"Tell me a story about the number {i}." for i in range(12)]
        ask = lambda text: self.chat(messages=[{"role": "user", "content": text}]).choices[0].message.content
        alone = [ask(text) for text in prompts]
        with ThreadPoolExecutor(len(prompts)) as threads:
            self.assertEqual(list(threads.map(ask, prompts)), alone)

    def test_a_stream_that_is_left_does_not_hold_others_up(self):
        for _ in range(6):
            stream = self.chat(stream=True, max_tokens=900, temperature=1)
            next(iter(stream))
            stream.close()
        self.assertEqual(self.chat().choices[0].finish_reason, "length")


class Embeddings(unittest.TestCase):
    """A model that writes and an encoder, served together."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(str(EMBED / "bert"))
        cls.client = openai.OpenAI(base_url=f"{cls.server.url}/v1", api_key="none", max_retries=0)
        cls.expected = json.loads((EMBED / "expected.json").read_text())

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        assert cls.server.stop() == 0

    def test_vectors_are_those_of_the_library(self):
        made = self.client.embeddings.create(model="bert", input=self.expected["texts"])
        self.assertGreater(made.usage.prompt_tokens, 20)
        for entry, expected in zip(made.data, self.expected["bert_mean"], strict=True):
            for a, b in zip(entry.embedding, expected, strict=True):
                self.assertAlmostEqual(a, b, delta=2e-5)

    def test_numbers_and_base64_are_the_same_and_few_are_the_first(self):
        ask = {"model": "demo", "input": ["Once upon a time", "there was a fox"]}
        coded = self.client.embeddings.create(**ask)
        plain = self.client.embeddings.create(**ask, encoding_format="float")
        for a, b in zip(coded.data, plain.data, strict=True):
            self.assertEqual(len(a.embedding), len(b.embedding))
            self.assertTrue(all(abs(x - y) < 1e-7 for x, y in zip(a.embedding, b.embedding)))
        few = self.client.embeddings.create(**ask, dimensions=8).data[0].embedding
        self.assertEqual(len(few), 8)
        self.assertAlmostEqual(sum(x * x for x in few), 1, delta=1e-5)

    def test_what_cannot_be_is_refused(self):
        with self.assertRaises(openai.BadRequestError) as refused:
            self.client.embeddings.create(model="bert", input=["a", "a " * 80])
        self.assertIn("text 1", refused.exception.message)
        with self.assertRaises(openai.BadRequestError) as refused:
            self.client.chat.completions.create(model="bert", messages=STORY)
        self.assertIn("bert", refused.exception.message)


class Keys(unittest.TestCase):
    def test_the_key_is_asked_for(self):
        def ask(url):
            with self.assertRaises(openai.AuthenticationError):
                openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0).models.list()
            with openai.OpenAI(base_url=f"{url}/v1", api_key="right") as client:
                self.assertEqual(len(list(client.models.list())), 1)

        with_key("right", ask)


if __name__ == "__main__":
    unittest.main()
