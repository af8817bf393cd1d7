//! `GET /v1/events`: what changes, as it changes (server-sent events, WHATWG HTML §9.2).

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use super::ApiState;
use super::error::{ErrorBody, Failure};
use crate::error::{Error, Result};
use crate::events::{Event, Listener, Topic};
use crate::query::Query;

/// A comment goes out this often while nothing changes, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The field of a reconnecting client (WHATWG HTML §9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";

/// Changes of streams, acceleration, breakers and load, as they happen.
///
/// Each event has its topic as `event`, its number as `id`, and JSON as `data`. A client that comes back with
/// `Last-Event-ID` gets what it missed first. One that fell too far behind gets `event: lost` with the number of events
/// that it will never see, and should read the state anew.
#[utoipa::path(
    get, path = "/v1/events", tag = "streams",
    params(
        ("topic" = Option<String>, Query, description = "Only this topic: stream, acceleration, breaker or load"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Start after this event"),
    ),
    responses(
        (status = 200, description = "Until the client or the service ends", content_type = "text/event-stream", body = Event),
        (status = 400, description = "An unknown topic, or no event's id", body = ErrorBody),
    )
)]
pub(super) async fn listen(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let topic = parse_topic(query.as_deref())?;
    let after = last_event_id(&headers)?;
    let messages = messages(state.events.listen(after), topic).map(Ok::<_, std::convert::Infallible>);
    let until_the_end = messages.take_until(state.delivery.shutdown.clone().cancelled_owned());
    Ok(Sse::new(until_the_end).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn messages(listener: Listener, topic: Option<Topic>) -> impl Stream<Item = Message> {
    let Listener { lost: lost_before, missed, coming } = listener;
    let lost_before = stream::iter((lost_before > 0).then(|| lost(lost_before)));
    let coming = BroadcastStream::new(coming);
    let as_message = move |event: Result<Arc<Event>, BroadcastStreamRecvError>| match event {
        Ok(event) => topic.is_none_or(|topic| topic == event.topic).then(|| message(&event)),
        Err(BroadcastStreamRecvError::Lagged(count)) => Some(lost(count)),
    };
    let events = stream::iter(missed.into_iter().map(Ok)).chain(coming);
    lost_before.chain(events.filter_map(move |event| ready(as_message(event))))
}

fn message(event: &Event) -> Message {
    let message = Message::default().event(event.topic.name()).id(event.id.to_string());
    // An event is strings and numbers, which have a JSON form without line breaks.
    message.data(serde_json::to_string(event).unwrap_or_default())
}

fn lost(count: u64) -> Message {
    Message::default().event("lost").data(format!("{{\"lost\":{count}}}"))
}

fn parse_topic(query: Option<&str>) -> Result<Option<Topic>> {
    let mut query = Query::read(query, &["topic"])?;
    let topic = query.take("topic", |text| {
        let found = Topic::ALL.iter().find(|(name, _)| *name == text);
        let names = || Topic::ALL.map(|(name, _)| name).join(", ");
        found.map(|(_, topic)| *topic).ok_or_else(|| format!("must be one of {}", names()))
    });
    query.finish(Some(topic))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    let problem =
        || Error::invalid("Last-Event-ID must be the id of an event of this stream: leave it out, or give one");
    number.map(Some).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Change, Events};
    use axum::body::to_bytes;

    fn tell(events: &Events, topic: Topic) {
        events.tell(Change { topic, subject: "door", from: "a", to: "b", reason: None });
    }

    async fn text(listener: Listener, topic: Option<Topic>) -> String {
        let messages = messages(listener, topic).map(Ok::<_, std::convert::Infallible>);
        let body = Sse::new(messages).into_response().into_body();
        String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_what_it_lost_and_goes_on() {
        let events = Events::default();
        let listener = events.listen(None);
        (0..300).for_each(|_| tell(&events, Topic::Stream));
        tell(&events, Topic::Load);
        drop(events);
        let text = text(listener, Some(Topic::Load)).await;
        assert!(text.starts_with("event: lost\ndata: {\"lost\":45}\n\n"), "{text}");
        assert!(text.contains("event: load\nid: 301\ndata: {") && !text.contains("event: stream"), "{text}");
    }

    #[test]
    fn topics_and_ids_are_checked() {
        assert_eq!(parse_topic(Some("topic=breaker")).unwrap(), Some(Topic::Breaker));
        assert!(parse_topic(Some("topic=weather")).unwrap_err().message().contains("stream, acceleration, breaker"));
        let mut headers = HeaderMap::new();
        assert_eq!(last_event_id(&headers).unwrap(), None);
        headers.insert(LAST_EVENT_ID, "17".parse().unwrap());
        assert_eq!(last_event_id(&headers).unwrap(), Some(17));
        headers.insert(LAST_EVENT_ID, "-1".parse().unwrap());
        assert!(last_event_id(&headers).is_err());
    }
}
