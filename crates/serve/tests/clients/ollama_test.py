"""The server as Ollama's own client meets it."""

import asyncio
import json
import unittest

import ollama

from served import STORY, Case, with_key

PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 120}},
    "required": ["age"],
    "additionalProperties": False,
}


def weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: its name
    """
    return f"rain in {city}"


class Ollama(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = ollama.Client(host=cls.server.url)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        super().tearDownClass()

    def asked(self, **more):
        options = {"temperature": 0, "num_predict": 20, **more.pop("options", {})}
        return {"model": "demo", "messages": STORY, "options": options, **more}

    def chat(self, **more):
        return self.client.chat(**self.asked(**more))

    def test_a_chat_streamed_is_the_chat(self):
        whole = self.chat()
        self.assertEqual((whole.done_reason, whole.eval_count), ("length", 20))
        parts = list(self.chat(stream=True, model="demo:latest", keep_alive="5m"))
        self.assertEqual("".join(part.message.content for part in parts), whole.message.content)
        self.assertEqual([part.done for part in parts], [False] * (len(parts) - 1) + [True])
        self.assertGreater(parts[-1].total_duration, 0)

    def test_an_answer_that_is_begun_is_gone_on_from(self):
        words = self.chat().message.content.split(" ")
        begun = [*STORY, {"role": "assistant", "content": " ".join(words[:4])}]
        self.assertTrue(self.chat(messages=begun).message.content.startswith(" " + " ".join(words[4:])))

    def test_prompts(self):
        ask = {"model": "demo", "options": {"temperature": 0, "num_predict": 20}}
        story = STORY[0]["content"]
        whole = self.client.generate(prompt=story, **ask).response
        self.assertEqual(whole, self.chat().message.content)
        parts = self.client.generate(prompt=story, stream=True, **ask)
        self.assertEqual("".join(part.response for part in parts), whole)
        self.assertTrue(self.client.generate(prompt="Once upon", raw=True, **ask).response.startswith(" a time"))
        self.assertEqual(self.client.generate(model="demo").done_reason, "load")

    def test_options(self):
        stopped = self.chat(options={"stop": ["."], "num_predict": 200})
        self.assertEqual(stopped.done_reason, "stop")
        self.assertNotIn(".", stopped.message.content)
        warm = lambda seed: self.chat(options={"seed": seed, "temperature": 1, "top_k": 40}).message.content
        self.assertEqual(warm(3), warm(3))
        self.assertNotEqual(warm(3), warm(4))
        tokens = self.chat(logprobs=True, top_logprobs=2).logprobs
        self.assertEqual((len(tokens), len(tokens[0].top_logprobs)), (20, 2))

    def test_formats_are_held(self):
        options = {"num_predict": 100}
        self.assertLessEqual(json.loads(self.chat(format=PERSON, options=options).message.content)["age"], 120)
        asked = {"model": "demo", "prompt": "Who?", "format": PERSON, "options": options}
        self.assertLessEqual(json.loads(self.client.generate(**asked).response)["age"], 120)
        text = "".join(p.message.content for p in self.chat(format=PERSON, stream=True, options=options))
        self.assertLessEqual(json.loads(text)["age"], 120)

    def test_calls(self):
        # Tools may be functions; what the model makes of them is its own affair.
        self.assertEqual(self.chat(tools=[weather]).message.role, "assistant")
        # The client has no word for it, the server does: a call that must come.
        tool = {"type": "function", "function": {"name": "weather", "parameters": {
            "type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"],
            "additionalProperties": False}}}
        asked = self.asked(tools=[tool], tool_choice="required", stream=False, options={"num_predict": 200})
        called = self.client._request(ollama.ChatResponse, "POST", "/api/chat", json=asked)
        call = called.message.tool_calls[0]
        self.assertEqual(call.function.name, "weather")
        self.assertIn(call.function.arguments["city"], ["Oslo", "Rome"])
        result = {"role": "tool", "tool_name": "weather", "content": "rain"}
        self.assertTrue(self.chat(messages=[*STORY, called.message, result], tools=[tool]).done)

    def test_thinking_is_understood(self):
        self.assertIsNone(self.chat(think=False).message.thinking)
        with self.assertRaises(ollama.ResponseError) as refused:
            self.chat(think=True)
        self.assertIn("think", refused.exception.error)

    def test_models(self):
        (model,) = self.client.list().models
        self.assertEqual(model.model, "demo")
        self.assertGreater(model.size, 1_000_000)
        (running,) = self.client.ps().models
        self.assertEqual((running.digest, running.size_vram), (model.digest, 0))
        shown = self.client.show("demo")
        self.assertEqual(shown.capabilities, ["completion", "tools"])
        self.assertEqual(shown.modelinfo["general.architecture"], shown.details.family)

    def test_who_has_the_store_is_said(self):
        for ask in (self.client.pull, self.client.delete, self.client.create):
            with self.assertRaises(ollama.ResponseError) as refused:
                ask("other")
            self.assertEqual(refused.exception.status_code, 501)

    def test_errors_have_their_status(self):
        for more, status, word in [
            ({"model": "other"}, 404, "other"),
            ({"options": {"colour": 1}}, 400, "colour"),
            ({"messages": [{"role": "user", "content": "word " * 5000}]}, 400, "context"),
        ]:
            for stream in (False, True):
                with self.assertRaises(ollama.ResponseError) as refused:
                    list(self.chat(stream=stream, **more))
                self.assertEqual(refused.exception.status_code, status)
                self.assertIn(word, refused.exception.error)

    def test_many_asked_at_once_by_the_async_client(self):
        async def all_of_them():
            client = ollama.AsyncClient(host=self.server.url)

            async def one():
                return "".join([part.message.content async for part in await client.chat(**self.asked(stream=True))])

            return await asyncio.gather(*[one() for _ in range(8)])

        self.assertEqual(asyncio.run(all_of_them()), [self.chat().message.content] * 8)


class Keys(unittest.TestCase):
    def test_the_key_is_asked_for(self):
        def ask(url):
            with ollama.Client(host=url) as client, self.assertRaises(ollama.ResponseError) as refused:
                client.list()
            self.assertEqual(refused.exception.status_code, 401)
            with ollama.Client(host=url, headers={"Authorization": "Bearer right"}) as client:
                self.assertEqual(len(client.list().models), 1)

        with_key("right", ask)


if __name__ == "__main__":
    unittest.main()
