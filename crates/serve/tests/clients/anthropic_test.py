"""The server as Anthropic's own client meets it."""

import asyncio
import unittest

import anthropic

from served import STORY, Case, with_key

WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer", "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}


class Anthropic(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = anthropic.Anthropic(base_url=cls.server.url, api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        super().tearDownClass()

    def asked(self, **more):
        extra = {"temperature": 0, **more.pop("extra_body", {})}
        return {"model": "demo", "messages": STORY, "max_tokens": 20, "extra_body": extra, **more}

    def ask(self, **more):
        return self.client.messages.create(**self.asked(**more))

    def stream(self, **more):
        with self.client.messages.stream(**self.asked(**more)) as stream:
            texts = list(stream.text_stream)
            return texts, stream.get_final_message()

    def test_a_message_streamed_is_the_message(self):
        whole = self.ask(system="Be kind.")
        self.assertEqual((whole.stop_reason, whole.usage.output_tokens), ("max_tokens", 20))
        texts, streamed = self.stream(system=[{"type": "text", "text": "Be kind."}])
        self.assertEqual("".join(texts), whole.content[0].text)
        self.assertEqual(streamed.content[0].text, whole.content[0].text)
        self.assertGreater(len(texts), 5)
        self.assertGreater(streamed.usage.cache_read_input_tokens, 0)
        prompt = lambda m: m.usage.input_tokens + m.usage.cache_read_input_tokens
        counted = self.client.messages.count_tokens(model="demo", system="Be kind.", messages=STORY)
        self.assertEqual({counted.input_tokens}, {prompt(whole), prompt(streamed)})
        events = [event.type for event in self.ask(stream=True)]
        self.assertEqual((events[0], events[-1]), ("message_start", "message_stop"))

    def test_stop_sequences_and_seeds(self):
        stopped = self.ask(stop_sequences=["."], max_tokens=200)
        self.assertEqual((stopped.stop_reason, stopped.stop_sequence), ("stop_sequence", "."))
        warm = lambda seed: self.ask(extra_body={"seed": seed, "temperature": 1, "top_k": 40}).content[0].text
        self.assertEqual(warm(3), warm(3))
        self.assertNotEqual(warm(3), warm(4))

    def test_calls_fit_their_schema_and_go_on(self):
        tools = {"tools": [WEATHER], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
        whole = self.ask(max_tokens=200, **tools)
        self.assertEqual(whole.stop_reason, "tool_use")
        call = whole.content[0]
        self.assertEqual((call.type, call.name, set(call.input)), ("tool_use", "weather", {"city", "days"}))
        self.assertIn(call.input["city"], ["Oslo", "Rome"])
        _, streamed = self.stream(max_tokens=200, **tools)
        self.assertEqual(streamed.content[0].input, call.input)
        result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "rain"}]}
        messages = [*STORY, whole.to_param(), {"role": "user", "content": [result]}]
        self.assertEqual(self.ask(messages=messages, tools=[WEATHER]).role, "assistant")

    def test_answers_go_back_as_they_came_and_are_gone_on_from(self):
        whole = self.ask()
        blocks = [block.model_dump() for block in whole.content]
        on = {"role": "user", "content": [{"type": "text", "text": "And then?", "cache_control": {"type": "ephemeral"}}]}
        told = [self.ask(messages=[*STORY, {"role": "assistant", "content": back}, on]).content
                for back in (whole.content, blocks)]
        self.assertEqual(told[0], told[1])
        words = whole.content[0].text.split(" ")
        begin, rest = " ".join(words[:4]), " " + " ".join(words[4:])
        begun = [*STORY, {"role": "assistant", "content": begin}]
        self.assertTrue(self.ask(messages=begun).content[0].text.startswith(rest))
        texts, streamed = self.stream(messages=begun)
        self.assertTrue("".join(texts).startswith(rest) and streamed.content[0].text == "".join(texts))

    def test_what_is_not_known_is_refused_with_its_place(self):
        text = {"type": "text", "text": "x", "foo": 1}
        for more, place in [
            ({"messages": [{"role": "user", "content": [text]}]}, "messages[0].content[0].foo"),
            ({"system": [text]}, "system[0].foo"),
            ({"tools": [{**WEATHER, "foo": 1}]}, "tools[0].foo"),
            ({"thinking": {"type": "disabled", "foo": 1}}, "thinking.foo"),
        ]:
            with self.assertRaises(anthropic.BadRequestError) as refused:
                self.ask(**more)
            self.assertIn(place, refused.exception.message)

    def test_a_strict_tool_leaves_an_answer_free_that_does_not_call(self):
        plain = self.ask(tools=[WEATHER], metadata={"user_id": "u"}, service_tier="auto")
        self.assertEqual(self.ask(tools=[{**WEATHER, "strict": True}]).content, plain.content)

    def test_a_form_is_held(self):
        schema = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 120, "minimum": 0}},
                  "required": ["age"], "additionalProperties": False}
        config = {"format": {"type": "json_schema", "schema": schema}}
        text = self.ask(output_config=config, max_tokens=100).content[0].text
        self.assertRegex(text, r'^\s*\{\s*"age"\s*:\s*\d{1,3}\s*\}\s*$')

    def test_thinking_is_understood(self):
        for thinking in [{"type": "disabled"}, {"type": "adaptive"}]:
            self.assertEqual(self.ask(thinking=thinking).content[0].type, "text")
        with self.assertRaises(anthropic.BadRequestError) as refused:
            self.ask(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000)
        self.assertIn("think", refused.exception.message)

    def test_errors_have_their_types(self):
        with self.assertRaises(anthropic.NotFoundError):
            self.ask(model="other")
        with self.assertRaises(anthropic.BadRequestError) as refused:
            self.ask(extra_body={"unknown_field": 1})
        self.assertEqual(refused.exception.body["error"]["type"], "invalid_request_error")
        self.assertIn("unknown_field", refused.exception.message)
        with self.assertRaises(anthropic.BadRequestError), self.client.messages.stream(
            **self.asked(messages=[{"role": "user", "content": "word " * 5000}])
        ):
            pass

    def test_many_asked_at_once_by_the_async_client(self):
        async def all_of_them():
            url = self.server.url
            async with anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
                async def one():
                    async with client.messages.stream(**self.asked()) as stream:
                        return "".join([text async for text in stream.text_stream])

                return await asyncio.gather(*[one() for _ in range(8)])

        self.assertEqual(asyncio.run(all_of_them()), [self.ask().content[0].text] * 8)


class Keys(unittest.TestCase):
    def test_the_key_is_asked_for(self):
        def ask(url):
            asked = {"model": "demo", "messages": STORY, "max_tokens": 2}
            with self.assertRaises(anthropic.AuthenticationError):
                anthropic.Anthropic(base_url=url, api_key="wrong", max_retries=0).messages.create(**asked)
            with anthropic.Anthropic(base_url=url, api_key="right") as client:
                self.assertEqual(client.messages.create(**asked).usage.output_tokens, 2)

        with_key("right", ask)


if __name__ == "__main__":
    unittest.main()
