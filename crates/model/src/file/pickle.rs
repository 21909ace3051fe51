//! Python's pickles as data: a machine for the few instructions that tensors and dictionaries need, which runs nothing.
//!
//! A pickle is a program for a stack machine, and in Python one that may call anything. Here a name in it stands on the caller's
//! shelf ([`Global`]) or ends the reading, a call is written down and not made ([`Object::Call`]), a state that an object is to
//! get is dropped, and every other instruction is refused by its number. Objects lie side by side and refer to each other by
//! index, so nothing recurses however deep a pickle nests, and one that refers to itself is only data. Texts are windows into
//! the pickle. Limits: its length, its objects and their items, the stack, open marks, the length of a text.
//! Source: CPython's `pickletools`, which describes each instruction.

use std::collections::HashMap;

use super::value::fixed;
use crate::error::{Error, Result};

/// Those of files with a thousand tensors have some 200 KB.
const BYTES_MAX: usize = 32 << 20;
/// Objects, their items and remembered values together.
const ITEMS_MAX: usize = 1 << 22;
/// Python writes items a thousand at a time.
const STACK_MAX: usize = 1 << 16;
/// A tensor's are three.
const MARKS_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 1 << 16;
const PROTOCOL_MAX: u8 = 5;

/// A name that pickles may have.
#[derive(Debug)]
pub struct Global {
    /// The module it stands in.
    pub module: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What becomes of it.
    pub makes: Makes,
}

/// What a pickle may do with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Makes {
    /// Called without arguments, a dictionary.
    Dict,
    /// Called, a record of the call.
    Call,
    /// Not be called.
    Word,
}

/// A value: plain, or the place of an object.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Global(&'static Global),
    Object(usize),
}

/// What a value may refer to.
#[derive(Debug)]
pub enum Object<'a> {
    /// Values that stay.
    Tuple(Vec<Value<'a>>),
    /// Values.
    List(Vec<Value<'a>>),
    /// Keys and values, as often as they were set.
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// What the program that wrote it keeps elsewhere, by the name it gave it.
    Kept(Value<'a>),
    /// A call that was not made, and its arguments.
    Call(&'static Global, Value<'a>),
}

/// What a pickle says.
#[derive(Debug)]
pub struct Pickle<'a> {
    /// The value on which it ends.
    pub root: Value<'a>,
    objects: Vec<Object<'a>>,
}

impl<'a> Pickle<'a> {
    /// The object that `value` refers to.
    pub fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(i) => self.objects.get(i),
            _ => None,
        }
    }

    /// The values of a tuple.
    pub fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.object(value) {
            Some(Object::Tuple(values)) => Some(values),
            _ => None,
        }
    }

    /// The keys and values of a dictionary.
    pub fn dict(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self.object(value) {
            Some(Object::Dict(items)) => Some(items),
            _ => None,
        }
    }
}

/// Reads the pickle called `name` in errors, in which only `globals` may be named.
///
/// # Errors
/// [`Error::Unsupported`] for other names and instructions, [`Error::Malformed`] when it breaks off, takes what is not there, or
/// passes a limit.
pub fn read<'a>(name: &str, bytes: &'a [u8], globals: &'static [Global]) -> Result<Pickle<'a>> {
    if bytes.len() > BYTES_MAX {
        return Err(Error::malformed(name, format!("{} bytes", bytes.len()), format!("at most {BYTES_MAX}")));
    }
    let mut machine = Machine {
        name,
        bytes,
        at: 0,
        globals,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Vec::new(),
        n_items: 0,
    };
    while machine.step()? {}
    let root = machine.pop()?;
    if !machine.stack.is_empty() || machine.at != bytes.len() {
        let found = format!("{} values and {} bytes more", machine.stack.len(), bytes.len() - machine.at);
        return Err(machine.malformed(&found, "one value at its end"));
    }
    Ok(Pickle { root, objects: machine.objects })
}

struct Machine<'a, 'n> {
    name: &'n str,
    bytes: &'a [u8],
    at: usize,
    globals: &'static [Global],
    stack: Vec<Value<'a>>,
    /// How high the stack was at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    objects: Vec<Object<'a>>,
    n_items: usize,
}

impl<'a> Machine<'a, '_> {
    /// One instruction; false at the last.
    fn step(&mut self) -> Result<bool> {
        let [op] = self.fixed()?;
        match op {
            // PROTO, FRAME, STOP
            0x80 => match self.fixed()? {
                [n] if n <= PROTOCOL_MAX => {}
                [n] => return Err(self.malformed(&format!("protocol {n}"), "a protocol up to 5")),
            },
            0x95 => drop(self.fixed::<8>()?),
            b'.' => return Ok(false),
            // NONE, NEWTRUE, NEWFALSE, BININT, BININT1, BININT2, LONG1, BINFLOAT
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => {
                let value = i32::from_le_bytes(self.fixed()?);
                self.push(Value::Int(value.into()))?;
            }
            b'K' => {
                let [value] = self.fixed()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.fixed()?);
                self.push(Value::Int(value.into()))?;
            }
            0x8a => {
                let value = self.long()?;
                self.push(Value::Int(value))?;
            }
            b'G' => {
                let value = f64::from_be_bytes(self.fixed()?);
                self.push(Value::Float(value))?;
            }
            // BINUNICODE, SHORT_BINUNICODE, SHORT_BINSTRING
            b'X' => {
                let len = u32::from_le_bytes(self.fixed()?);
                self.text(len as usize)?;
            }
            0x8c | b'U' => {
                let [len] = self.fixed()?;
                self.text(len.into())?;
            }
            // MARK, EMPTY_TUPLE, TUPLE, TUPLE1, TUPLE2, TUPLE3
            b'(' if self.marks.len() == MARKS_MAX => {
                return Err(self.malformed("marks within marks", &format!("at most {MARKS_MAX}")));
            }
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.tuple(0)?,
            b't' => {
                let n = self.since_mark()?;
                self.tuple(n)?;
            }
            0x85..=0x87 => self.tuple(usize::from(op - 0x84))?,
            // EMPTY_LIST, EMPTY_DICT, APPEND, APPENDS, SETITEM, SETITEMS
            b']' => self.make(Object::List(Vec::new()))?,
            b'}' => self.make(Object::Dict(Vec::new()))?,
            b'a' => self.append(1)?,
            b'e' => {
                let n = self.since_mark()?;
                self.append(n)?;
            }
            b's' => self.set_items(2)?,
            b'u' => {
                let n = self.since_mark()?;
                self.set_items(n)?;
            }
            // GLOBAL, STACK_GLOBAL, BINPERSID, REDUCE, BUILD
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.global(module, name)?,
                _ => return Err(self.malformed("a name that is no text", "two texts")),
            },
            b'Q' => {
                let name = self.pop()?;
                self.make(Object::Kept(name))?;
            }
            b'R' => self.reduce()?,
            b'b' => {
                self.pop()?;
                if !matches!(self.top_object()?, Some(Object::Dict(_))) {
                    return Err(self.malformed("a state for something else", "one for a dictionary"));
                }
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' => {
                let [i] = self.fixed()?;
                self.put(i.into())?;
            }
            b'r' => {
                let i = u32::from_le_bytes(self.fixed()?);
                self.put(i)?;
            }
            0x94 => self.put(self.memo.len() as u32)?,
            b'h' => {
                let [i] = self.fixed()?;
                self.get(i.into())?;
            }
            b'j' => {
                let i = u32::from_le_bytes(self.fixed()?);
                self.get(i)?;
            }
            other => {
                self.at -= 1;
                let known = ["those of tensors, numbers, texts, tuples, lists and dictionaries"];
                return Err(Error::unsupported(self.part(), format!("instruction 0x{other:02x}"), known));
            }
        }
        Ok(true)
    }

    fn part(&self) -> String {
        format!("{} byte {}", self.name, self.at)
    }

    fn malformed(&self, found: &str, expected: &str) -> Error {
        Error::malformed(self.part(), found, expected)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let taken = self.bytes[self.at..].get(..n);
        let taken = taken.ok_or_else(|| {
            let found = format!("{} bytes left", self.bytes.len() - self.at);
            self.malformed(&found, &format!("{n}, and an end"))
        })?;
        self.at += n;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N).map(fixed)
    }

    /// A number of up to eight bytes.
    fn long(&mut self) -> Result<i64> {
        let [n] = self.fixed()?;
        let bytes = self.take(n.into())?;
        if n > 8 {
            return Err(self.malformed(&format!("a number of {n} bytes"), "at most 8"));
        }
        let fill = if bytes.last().is_some_and(|&byte| byte >= 0x80) { 0xff } else { 0 };
        let mut all = [fill; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(all))
    }

    fn text(&mut self, len: usize) -> Result<()> {
        if len > TEXT_BYTES_MAX {
            return Err(
                self.malformed(&format!("a text of {len} bytes"), &format!("at most {TEXT_BYTES_MAX}"))
            );
        }
        let text = std::str::from_utf8(self.take(len)?);
        let text = text.map_err(|_| self.malformed("a text in invalid UTF-8", "UTF-8"))?;
        self.push(Value::Text(text))
    }

    /// A text up to the end of its line.
    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().take(TEXT_BYTES_MAX).position(|&byte| byte == b'\n');
        let len = len.ok_or_else(|| self.malformed("a line without an end", "a name and its end"))?;
        let line = std::str::from_utf8(self.take(len)?);
        let line = line.map_err(|_| self.malformed("a name in invalid UTF-8", "UTF-8"))?;
        self.at += 1;
        Ok(line)
    }

    fn push(&mut self, value: Value<'a>) -> Result<()> {
        if self.stack.len() == STACK_MAX {
            return Err(self.malformed("values on values", &format!("at most {STACK_MAX} on the stack")));
        }
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(value) if self.stack.len() >= floor => Ok(value),
            _ => Err(self.malformed("an instruction without its values", "values on the stack")),
        }
    }

    /// How many values there are above the last mark, which is closed.
    fn since_mark(&mut self) -> Result<usize> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.len() - mark),
            None => Err(self.malformed("an instruction without its mark", "a mark on the stack")),
        }
    }

    /// The last `n` values, taken from the stack.
    fn pop_many(&mut self, n: usize) -> Result<Vec<Value<'a>>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let from = self.stack.len().checked_sub(n).filter(|&from| from >= floor);
        let from =
            from.ok_or_else(|| self.malformed("an instruction without its values", "values on the stack"))?;
        self.count(n)?;
        Ok(self.stack.split_off(from))
    }

    /// That `n` items more are not too many.
    fn count(&mut self, n: usize) -> Result<()> {
        self.n_items += n;
        if self.n_items > ITEMS_MAX {
            return Err(self.malformed("too many values", &format!("at most {ITEMS_MAX}")));
        }
        Ok(())
    }

    fn make(&mut self, object: Object<'a>) -> Result<()> {
        self.count(1)?;
        self.objects.push(object);
        self.push(Value::Object(self.objects.len() - 1))
    }

    fn tuple(&mut self, n: usize) -> Result<()> {
        let values = self.pop_many(n)?;
        self.make(Object::Tuple(values))
    }

    /// The object on top of the stack, which stays there.
    fn top_object(&mut self) -> Result<Option<&mut Object<'a>>> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(match top {
            Value::Object(i) => self.objects.get_mut(i),
            _ => None,
        })
    }

    fn append(&mut self, n: usize) -> Result<()> {
        let values = self.pop_many(n)?;
        match self.top_object()? {
            Some(Object::List(list)) => list.extend(values),
            _ => return Err(self.malformed("items for something else", "items for a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, n: usize) -> Result<()> {
        let values = self.pop_many(n)?;
        let (pairs, rest) = values.as_chunks::<2>();
        match self.top_object()? {
            Some(Object::Dict(items)) if rest.is_empty() => {
                items.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
            _ => return Err(self.malformed("items for something else", "keys and values for a dictionary")),
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let known = self.globals.iter().find(|global| global.module == module && global.name == name);
        let global = known.ok_or_else(|| {
            let names: Vec<String> =
                self.globals.iter().map(|g| format!("{}.{}", g.module, g.name)).collect();
            let found = format!("the name {}", brief(&format!("{module}.{name}")));
            Error::unsupported(self.part(), found, names.iter().map(String::as_str))
        })?;
        self.push(Value::Global(global))
    }

    fn reduce(&mut self) -> Result<()> {
        let (arguments, called) = (self.pop()?, self.pop()?);
        let Value::Global(global) = called else {
            return Err(self.malformed("a call of something else", "a call of a name"));
        };
        let is_empty = match arguments {
            Value::Object(i) => matches!(&self.objects[i], Object::Tuple(values) if values.is_empty()),
            _ => false,
        };
        match global.makes {
            Makes::Dict if is_empty => self.make(Object::Dict(Vec::new())),
            Makes::Call => self.make(Object::Call(global, arguments)),
            Makes::Dict | Makes::Word => {
                let found = format!("a call of {}.{}", global.module, global.name);
                Err(self.malformed(&found, "a call that makes a tensor, or a dictionary without items"))
            }
        }
    }

    fn put(&mut self, i: u32) -> Result<()> {
        let value = self.pop()?;
        self.stack.push(value);
        self.count(1)?;
        self.memo.insert(i, value);
        Ok(())
    }

    fn get(&mut self, i: u32) -> Result<()> {
        let value = self.memo.get(&i).copied();
        let value = value.ok_or_else(|| self.malformed(&format!("remembered value {i}"), "one that was"))?;
        self.push(value)
    }
}

/// A name in a few words.
fn brief(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
