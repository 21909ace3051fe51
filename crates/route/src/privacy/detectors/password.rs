//! What is said to be secret: `password = ...`, `"api_key": "..."`, "my password is ...", `user:...@host`, `Bearer ...`.
//!
//! The value is found, not the name before it. A value that is code, a type or a blank to be filled in is left, and so is a
//! plain word behind "is" or a colon: "password is required".

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "PASSWORD", word: "PASSWORD", class: Class::Secret },
    about: "the value behind a name that ends in password, secret, token or key and a sign that assigns; of user:password@host; of Bearer and Basic",
    source: "RFC 3986, 6.2; RFC 7617; RFC 6750; usage",
    example: "DB_PASSWORD=⟦hunter2!⟧",
    near_misses: &[
        "password: String",
        "password = get_password()",
        "password=${PASS}",
        "the password is required",
        "Password: <your password>",
        "token: &str,",
        "password = None",
        "passwords",
        "secret: ****",
        "monkey=banana5",
        "my key is here",
        "password = $db_password",
        "password: $(cat token.txt)",
        "password=\"%s\"",
        "password=%(password)s",
        "set PASSWORD=%PASS%",
        "password=[your password]",
        "let token = [0u8; 32];",
        "let token = Token::Id(4)",
        "Authorization: Bearer {key}\\r\\nOrigin: x",
        "token = secrets.token_hex(32)",
        "secret = env::var(\"SECRET\")",
        "postgres://joe:${PASS}@db/x",
        "postgres://joe:%s@db/x",
    ],
    find,
};

/// Ends of names, in small letters.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passwort",
    "kennwort",
    "contraseña",
    "contrasena",
    "senha",
    "pwd",
    "secret",
    "api_key",
    "apikey",
    "api-key",
    "secret_key",
    "secret-key",
    "secretkey",
    "access_key",
    "access-key",
    "accesskey",
    "account_key",
    "accountkey",
    "private_key",
    "auth_token",
    "access_token",
    "refresh_token",
    "token",
    "credential",
    "credentials",
    "pin code",
    "密码",
];
const VALUE_MAX: usize = 256;

fn find(page: &Page<'_>, hits: &mut Hits) {
    let bytes = page.bytes();
    let mut at = 0;
    while at < bytes.len() {
        let found = match bytes[at] {
            b'=' | b':' if bytes[at..].starts_with(b"://") => user_info(page.text, at + 3),
            b'=' | b':' => assigned(page.text, at),
            // Ends of the words that may stand before.
            b' ' if at > 0 && b"stroc\xa8SCRT".contains(&bytes[at - 1]) => said(page.text, at),
            _ => None,
        };
        if let Some((span, sure)) = found {
            at = span.end.max(at + 1);
            hits.push(span, sure);
        } else {
            at += 1;
        }
    }
}

type Found = (std::ops::Range<usize>, Certainty);

/// The value behind the sign that stands here, if the name before it asks for one.
fn assigned(text: &str, sign: usize) -> Option<Found> {
    let before = text[..sign]
        .strip_suffix(':')
        .unwrap_or(&text[..sign])
        .trim_end_matches([' ', '"', '\'', '`', ']', '*']);
    if sign - before.len() > 4 || !is_name(before) {
        return None;
    }
    let behind = text[sign + 1..].trim_start_matches(['=', '>']);
    let rest = behind.trim_start_matches([' ', '*']);
    let start = text.len() - rest.len();
    if start - sign > 6 {
        return None;
    }
    let (len, quoted) = value(rest)?;
    let start = start + usize::from(quoted);
    let value = &text[start..start + len];
    let tight = start == sign + 1;
    let sure = if is_blank(value, &text[start + len..]) || (!quoted && is_code(value)) {
        return None;
    } else if quoted || is_mixed(value) {
        Certainty::Likely
    } else if tight && text.as_bytes()[sign] == b'=' && text.as_bytes().get(start + len) != Some(&b'(') {
        Certainty::Possible
    } else {
        return None;
    };
    Some((start..start + len, sure))
}

/// "password is x", "Bearer x": what stands behind the space that stands here.
fn said(text: &str, space: usize) -> Option<Found> {
    let before = &text[..space];
    let ends = |word: &str| {
        let tail = before.len().checked_sub(word.len()).and_then(|at| before.get(at..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(word))
            && !before[..before.len() - word.len()].ends_with(|char: char| char.is_alphanumeric())
    };
    let is = ["is", "was", "ist", "es", "est", "è", "to"].iter().find(|word| ends(word));
    let scheme = ends("bearer") || ends("basic");
    if is.is_none() && !scheme {
        return None;
    }
    let rest = text[space + 1..].trim_start_matches(' ');
    let start = text.len() - rest.len();
    if start - space > 3 {
        return None;
    }
    let (len, quoted) = value(rest)?;
    let start = start + usize::from(quoted);
    let found = &text[start..start + len];
    if is_blank(found, &text[start + len..]) || !(quoted || is_mixed(found)) {
        return None;
    }
    match is {
        Some(word) => {
            let name = before[..before.len() - word.len()].trim_end();
            is_name(name).then_some((start..start + len, Certainty::Likely))
        }
        None => (len >= 12).then_some((start..start + len, Certainty::Likely)),
    }
}

/// `user:password@`, behind `://`.
fn user_info(text: &str, start: usize) -> Option<Found> {
    let rest = &text[start..];
    let end = rest.bytes().take(VALUE_MAX).position(|byte| {
        matches!(byte, b'@' | b'/' | b'?' | b'#' | b'<' | b'"' | b'\'') || byte.is_ascii_whitespace()
    })?;
    let (user, password) = rest[..end].split_once(':')?;
    let found = rest.as_bytes()[end] == b'@' && !password.is_empty() && !is_blank(password, "");
    let at = start + user.len() + 1;
    found.then_some((at..start + end, Certainty::Certain))
}

/// Whether a text ends in a name of something secret.
fn is_name(before: &str) -> bool {
    let word =
        before.len() - before.bytes().rev().take(40).take_while(|byte| !byte.is_ascii_whitespace()).count();
    let Some(word) = before.get(word..) else { return false };
    NAMES.iter().any(|name| {
        let Some(at) = word.len().checked_sub(name.len()) else { return false };
        let Some(tail) = word.get(at..) else { return false };
        let begins = !word[..at].ends_with(|char: char| char.is_lowercase())
            || tail.starts_with(|char: char| char.is_uppercase());
        (tail.eq_ignore_ascii_case(name) && begins) || tail == *name
    })
}

/// How long the value is that begins here, and whether in quotes (which are not counted).
fn value(text: &str) -> Option<(usize, bool)> {
    let quote = text.chars().next().filter(|char| "\"'`".contains(*char));
    let body = &text[usize::from(quote.is_some())..];
    let mut len = 0;
    for (at, char) in body.char_indices().take_while(|(at, _)| *at < VALUE_MAX) {
        let ends = match quote {
            Some(quote) => char == quote || char == '\n',
            None => char.is_whitespace() || char.is_control() || "\"'`<>,;&".contains(char),
        };
        if ends {
            break;
        }
        len = at + char.len_utf8();
    }
    let len = match quote {
        Some(_) => len,
        None => body[..len].trim_end_matches(['.', ')', ']', '}', '!', '?', ':']).len().max(len.min(1)),
    };
    // What ends a sentence may end a password as well: one sign of it is kept.
    let kept = match (quote, body[len..].chars().next()) {
        (None, Some(sign @ ('!' | '?'))) => len + sign.len_utf8(),
        _ => len,
    };
    (kept >= 4).then_some((kept, quote.is_some()))
}

/// Whether it is there to be filled in: `${PASS}`, `%s`, `[your password]`. What only begins so is none: `$ecur3Pa55`. `behind` is the text
/// that follows, where what closes a value may be.
fn is_blank(value: &str, behind: &str) -> bool {
    let first = value.chars().next();
    if value.chars().all(|char| Some(char) == first) {
        return true;
    }
    // In code a line may end here: `"Bearer {key}\\r\\n"`.
    let (value, behind) = match value.find('\\').filter(|at| value[at + 1..].starts_with(['r', 'n'])) {
        Some(at) => (&value[..at], ""),
        None => (value, behind),
    };
    let closing = behind.len() - behind.trim_start_matches([')', ']', '}', '>']).len();
    let whole = [value, &behind[..closing]].concat();
    match first {
        Some('$') => {
            is_variable(&value[1..]) || is_variable(&whole[1..]) || is_open(&whole[1..], &behind[closing..])
        }
        Some('%') => is_directive(&value[1..]) || is_directive(&whole[1..]),
        Some('[' | '{' | '<') => is_closed(&whole) || is_open(&whole, &behind[closing..]),
        _ => false,
    }
}

/// Whether it is in one pair of brackets from its beginning to its end, or to the ends of others that began before it.
fn is_closed(text: &str) -> bool {
    let close = match text.chars().next() {
        Some('[') => ']',
        Some('{') => '}',
        Some('<') => '>',
        Some('(') => ')',
        _ => return false,
    };
    text.trim_end_matches(|char| char != close && ")]}>".contains(char)).ends_with(close)
}

/// Whether words or an array begin in a bracket here that closes on the same line, behind what the value was taken for.
fn is_open(text: &str, behind: &str) -> bool {
    let close = match text.chars().next() {
        Some('[') => ']',
        Some('{') => '}',
        Some('(') => ')',
        _ => return false,
    };
    let goes_on = match behind.chars().next() {
        Some(',' | ';') => true,
        Some(' ') => text[1..].chars().all(|char| char.is_alphabetic() || "_-./".contains(char)),
        _ => false,
    };
    let mut line = behind.chars().take(VALUE_MAX).take_while(|char| *char != '\n');
    goes_on && line.any(|char| char == close)
}

/// What stands behind `$` where a value is fetched: `{NAME}`, `(command)`, `NAME`, or a name of something secret, maybe with more of it.
fn is_variable(text: &str) -> bool {
    let end = text.find(|char: char| !is_of_name(char)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let capitals = !name.starts_with(|char: char| char.is_ascii_digit())
        && name.bytes().all(|byte| !byte.is_ascii_lowercase())
        && name.bytes().any(|byte| byte.is_ascii_uppercase());
    match rest {
        "" => capitals || is_name(name) || matches!(name, "pass" | "pw"),
        // `$_POST["password"]`, `$this->password`.
        "[" | "->" => !name.is_empty(),
        _ => name.is_empty() && !text.starts_with('[') && is_closed(text),
    }
}

/// What stands behind `%` where a value is put in: `NAME%`, `s`, `(name)s`, `{name}`.
fn is_directive(text: &str) -> bool {
    let name = text.strip_suffix('%').is_some_and(|name| !name.is_empty() && name.chars().all(is_of_name));
    let letter = |text: &str| text.len() == 1 && text.starts_with(|char: char| char.is_ascii_alphabetic());
    let named = text.strip_suffix(['s', 'd']).is_some_and(is_closed);
    name || letter(text) || named || is_closed(text)
}

/// Whether it is code that fetches it or says what it is: `get_password(`, `sha256(salt`, `std::env`. A password may look like a call too,
/// so what stands in its bracket must be a name or a number.
fn is_code(value: &str) -> bool {
    // Of `Token::new(` the first sign assigns.
    let value = value.trim_start_matches(':');
    let end = value.find(|char: char| !is_of_name(char) && !".:".contains(char)).unwrap_or(value.len());
    let (path, rest) = value.split_at(end);
    if !path.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_') {
        return false;
    }
    let Some(inside) = rest.strip_prefix('(') else { return path.contains("::") && rest.is_empty() };
    let word = &inside[..inside.find(|char: char| !is_of_name(char)).unwrap_or(inside.len())];
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    digits == 0 || digits == word.len()
}

fn is_of_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

/// Whether it is no plain word: a digit or a sign is in it that names and prose do not have within.
fn is_mixed(value: &str) -> bool {
    value.chars().any(|char| char.is_numeric() || "!@#$%^&*+=?~/\\|".contains(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_without_what_is_around() {
        for (text, secret) in [
            ("password: \"correct horse battery\"", "correct horse battery"),
            ("{\"client_secret\": \"abc\\def\"}", "abc\\def"),
            ("my password is Tr0ub4dor&3.", "Tr0ub4dor"),
            ("postgres://joe:s3cr:et@db/x", "s3cr:et"),
            ("Authorization: Basic am9lOnNlY3JldDE=", "am9lOnNlY3JldDE="),
            ("dbPassword = 'hunter22'", "hunter22"),
            ("?a=b&token=abcdef&c=d", "abcdef"),
            ("AWS_SECRET_ACCESS_KEY=wJalr/K7MDENG", "wJalr/K7MDENG"),
            ("Passwort: geheim99", "geheim99"),
            ("DB_PASSWORD=$ecur3Pa55!", "$ecur3Pa55!"),
            ("my password is Tr0ub(4dor)", "Tr0ub(4dor"),
            ("postgres://joe:%40dmin99x@db/x", "%40dmin99x"),
            ("password: \"[a1b2c3\"", "[a1b2c3"),
            ("password = '&x9{y8'", "&x9{y8"),
            ("password: {Xy7!abc", "{Xy7!abc"),
            ("postgres://joe:p(4)ss@db/x", "p(4)ss"),
        ] {
            let found = DETECTOR.find(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(&text[found[0].span.clone()], secret, "{text}");
        }
    }
}
