// Server-sent events: text as it arrives, in pieces cut anywhere, becomes whole events.
//
// A line may end in LF, CRLF or CR, also where a piece ends between CR and LF. The `data` lines of an event are joined by
// newlines; comments and unknown fields are skipped. An event that grows beyond EVENT_CHARS_MAX is an error, so that a
// server that never ends a line can't fill the memory. Left out: `id` and `retry`, since an answer is never resumed.

const EVENT_CHARS_MAX = 8 << 20;

export class SseParser {
  #rest = '';          // the beginning of a line whose end has not come yet
  #afterCr = false;    // the last piece ended in CR: a LF that comes next belongs to it
  #data = [];
  #event = '';
  #chars = 0;

  /** Takes the next piece of text and returns the events it completes: `[{event, data}]`. */
  push(text) {
    if (text === '') return [];
    if (this.#afterCr && text.startsWith('\n')) text = text.slice(1);
    this.#afterCr = text.endsWith('\r');
    const lines = text.split(/\r\n|\n|\r/);
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop();
    if (this.#rest.length + this.#chars > EVENT_CHARS_MAX) throw tooLong();
    const events = [];
    for (const line of lines) {
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line) {
    if (line === '') {
      const event = this.#data.length ? { event: this.#event || 'message', data: this.#data.join('\n') } : null;
      this.#data = [];
      this.#event = '';
      this.#chars = 0;
      return event;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') {
      this.#chars += value.length;
      if (this.#chars > EVENT_CHARS_MAX) throw tooLong();
      this.#data.push(value);
    } else if (field === 'event') {
      this.#event = value;
    }
    return null;
  }
}

function tooLong() {
  return new Error(`The server sent an event of more than ${EVENT_CHARS_MAX} characters.`);
}
