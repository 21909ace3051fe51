//! `/v1/responses/{id}`: what is kept of a response, and its end.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::{Extension, Json as AsJson};
use serde_json::{Value as Json, json};

use super::stored::Kept;
use crate::app::App;
use crate::guard::Caller;
use crate::refusal::Refusal;

/// Items to a page, where a request does not say, and at most.
const PAGE: usize = 20;
const PAGE_MAX: usize = 100;

/// A response that is kept for the one who asks.
///
/// # Errors
/// [`Refusal::NotFound`] with its id.
pub fn response(app: &App, caller: Caller, id: &str) -> Result<Arc<Kept>, Refusal> {
    app.responses.get(caller, id).ok_or_else(|| none(id))
}

fn none(id: &str) -> Refusal {
    Refusal::NotFound(format!("no response {id:?} is stored here"))
}

/// `GET /v1/responses/{id}`
pub async fn one(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, Refusal> {
    for (name, value) in parameters(query.as_deref()) {
        // What was asked for when it was made is in it.
        if !(name.starts_with("include") || (name == "stream" && value == "false")) {
            return Err(unknown(name));
        }
    }
    let kept = response(&app, caller, &id)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], kept.response.clone()))
}

/// `DELETE /v1/responses/{id}`
pub async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<AsJson<Json>, Refusal> {
    if !app.responses.remove(caller, &id) {
        return Err(none(&id));
    }
    Ok(AsJson(json!({ "id": id, "object": "response", "deleted": true })))
}

/// `POST /v1/responses/{id}/cancel`
pub async fn cancel(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<AsJson<Json>, Refusal> {
    response(&app, caller, &id)?;
    Err(Refusal::request(format!(
        "{id}: only a response made in the background can be cancelled, and this server makes none there"
    )))
}

/// `GET /v1/responses/{id}/input_items`: all that was said before the response.
pub async fn input_items(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<AsJson<Json>, Refusal> {
    let kept = response(&app, caller, &id)?;
    let page = Page::of(query.as_deref())?;
    let mut items: Vec<_> = kept.context.iter().collect();
    if !page.ascending {
        items.reverse();
    }
    if let Some(after) = page.after {
        let found = items.iter().position(|item| item.id == after);
        let none = || Refusal::field("after", format!("after: {id} has no input item {after:?}"));
        items.drain(..=found.ok_or_else(none)?);
    }
    let has_more = items.len() > page.limit;
    items.truncate(page.limit);
    let data: Json = items.iter().map(|item| item.json()).collect();
    let (first, last) = (items.first().map(|item| &item.id), items.last().map(|item| &item.id));
    Ok(AsJson(json!({
        "object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more,
    })))
}

/// Which items are wanted.
#[derive(Debug, PartialEq, Eq)]
struct Page<'a> {
    limit: usize,
    ascending: bool,
    after: Option<&'a str>,
}

impl<'a> Page<'a> {
    fn of(query: Option<&'a str>) -> Result<Self, Refusal> {
        let mut page = Self { limit: PAGE, ascending: false, after: None };
        for (name, value) in parameters(query) {
            match (name, value) {
                ("limit", n) => {
                    let n = n.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n));
                    let expected = format!("limit: expected a whole number from 1 to {PAGE_MAX}");
                    page.limit = n.ok_or_else(|| Refusal::field("limit", expected))?;
                }
                ("order", "asc") => page.ascending = true,
                ("order", "desc") => page.ascending = false,
                ("order", _) => {
                    return Err(Refusal::field("order", "order: expected \"asc\" or \"desc\""));
                }
                ("after", id) => page.after = Some(id),
                (name, _) if name.starts_with("include") => {}
                (name, _) => return Err(unknown(name)),
            }
        }
        Ok(page)
    }
}

/// The parameters behind a path, as they stand there: what is known of them needs no escaping.
fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let each = query.unwrap_or_default().split('&').filter(|one| !one.is_empty());
    each.map(|one| one.split_once('=').unwrap_or((one, "")))
}

fn unknown(name: &str) -> Refusal {
    Refusal::field(name, format!("{name}: this server does not support it here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_and_what_is_not_known_is_named() {
        let page = |query| Page::of(query);
        assert_eq!(page(None).unwrap(), Page { limit: 20, ascending: false, after: None });
        let expected = Page { limit: 2, ascending: true, after: Some("msg_1") };
        assert_eq!(page(Some("limit=2&order=asc&after=msg_1&include%5B%5D=x")).unwrap(), expected);
        for (query, name) in
            [("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("before=1", "before")]
        {
            assert!(page(Some(query)).unwrap_err().to_string().contains(name), "{query}");
        }
    }
}
