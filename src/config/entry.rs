//! A stream's settings as an entry of `streams:` again, for people who want to change them.

use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use super::settings::StreamSettings;
use super::source::Source;
use crate::media::{
    Cadence, FrameRate, InputFormat, OutputRequest, RateControl, RenditionRequest, RtspClient, TlsTrust, Transport,
};
use crate::plan::Policy;

/// An entry of `streams:`, as `PUT /v1/streams/{id}` takes it: everything that is not as it is by default, without
/// secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StreamEntry {
    /// Where it comes from.
    pub source: String,
    /// The camera's substream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect_source: Option<String>,
    /// What the source sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// How often a JPEG is asked for, a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Whether the source's certificate counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// What speaks RTSP with the camera.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest: Option<RtspClient>,
    /// The camera's user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// How RTP travels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Connect when the first consumer comes.
    pub on_demand: bool,
    /// How much the hardware is wanted.
    pub policy: String,
    /// 0 to 10.
    pub priority: u8,
    /// Renditions kept warm, each with the parameters of a URL.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub renditions: BTreeMap<String, BTreeMap<&'static str, String>>,
}

impl StreamEntry {
    /// What `settings` say.
    pub fn of(settings: &StreamSettings) -> Self {
        let (input, rate, tls) = reading(&settings.source);
        let sources: Vec<&Source> = settings.every_source().collect();
        let name = |(name, _): &(&'static str, Policy)| (*name).to_owned();
        Self {
            source: settings.source.to_string(),
            detect_source: settings.detect.as_ref().map(|detect| detect.source.to_string()),
            input,
            rate,
            tls,
            ingest: sources.iter().copied().find_map(client),
            username: settings.credentials.as_ref().map(|login| login.username.clone()),
            transport: sources.iter().any(|source| matches!(source, Source::Rtsp(_))).then_some(settings.transport),
            on_demand: settings.on_demand,
            policy: Policy::ALL.iter().find(|(_, policy)| *policy == settings.policy).map(name).unwrap_or_default(),
            priority: settings.priority.0,
            renditions: settings.renditions.iter().map(|(name, request)| (name.clone(), params(request))).collect(),
        }
    }

    /// The keys of `settings` that hold what is not shown, and that whoever puts the entry again has to give anew.
    pub fn hidden(settings: &StreamSettings) -> Vec<&'static str> {
        let is_cut = |source: &Source| source.url().is_some_and(|url| url.to_string().contains("=…"));
        let detect = settings.detect.as_ref();
        let detect_login = detect.and_then(|detect| detect.credentials.as_ref());
        let has_own_login = detect_login.is_some_and(|login| settings.credentials.as_ref() != Some(login));
        let all = [
            ("source", is_cut(&settings.source)),
            ("detect_source", has_own_login || detect.is_some_and(|detect| is_cut(&detect.source))),
            ("password", settings.credentials.is_some()),
        ];
        all.into_iter().filter_map(|(key, is_hidden)| is_hidden.then_some(key)).collect()
    }
}

/// `input`, `rate` and `tls`, where they are not what is taken anyway.
fn reading(source: &Source) -> (Option<String>, Option<String>, Option<String>) {
    let insecure = |tls: TlsTrust| (tls == TlsTrust::Insecure).then(|| "insecure".to_owned());
    let name_of =
        |input: InputFormat| InputFormat::ALL.iter().find(|(_, known)| *known == input).map(|(name, _)| *name);
    match source {
        Source::Http(http) => {
            let input = http.input.and_then(name_of).map(str::to_owned);
            let polls_otherwise = http.rate.as_f64() != 1.0;
            (input, polls_otherwise.then(|| exact(http.rate)), insecure(http.tls))
        }
        Source::File(file) => (name_of(InputFormat::Container(file.container)).map(str::to_owned), None, None),
        Source::Rtsp(camera) => (None, None, insecure(camera.tls)),
        Source::Push | Source::Pattern(_) => (None, None, None),
    }
}

/// `ingest`, where it is not what speaks anyway.
fn client(source: &Source) -> Option<RtspClient> {
    match source {
        Source::Rtsp(camera) => Some(camera.client).filter(|client| *client != RtspClient::default()),
        Source::Http(_) | Source::File(_) | Source::Push | Source::Pattern(_) => None,
    }
}

/// The parameters that ask for `request`.
fn params(request: &RenditionRequest) -> BTreeMap<&'static str, String> {
    let mut params = BTreeMap::new();
    let mut set = |key, value: Option<String>| _ = value.map(|value| params.insert(key, value));
    match request.output {
        OutputRequest::Raw(format) => set("format", Some(format.name().to_owned())),
        OutputRequest::Jpeg { quality } => {
            set("format", Some("jpeg".to_owned()));
            set("quality", Some(quality.to_string()));
        }
        OutputRequest::Encode { codec, rate_control, gop } => {
            set("codec", Some(codec.name().to_owned()));
            match rate_control {
                Some(RateControl::Bitrate(bits)) => set("bitrate", Some(bits.to_string())),
                Some(RateControl::Quality(quality)) => set("quality", Some(quality.to_string())),
                None => {}
            }
            set("gop", gop.map(|gop| gop.to_string()));
        }
    }
    set("width", request.width.map(|width| width.to_string()));
    set("height", request.height.map(|height| height.to_string()));
    set("crop", request.crop.map(|crop| crop.to_string()));
    set(
        "fps",
        match request.cadence {
            Cadence::Every => None,
            Cadence::Fps(rate) => Some(exact(rate)),
            Cadence::Keyframes => Some(Cadence::Keyframes.to_string()),
        },
    );
    params
}

/// `5`, or `30000/1001`, which a decimal would not give back.
fn exact(rate: FrameRate) -> String {
    if rate.den == 1 { rate.num.to_string() } else { format!("{}/{}", rate.num, rate.den) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{StreamDefaults, stream_from_json};

    fn settings(json: &str) -> StreamSettings {
        stream_from_json(json.as_bytes(), &StreamDefaults::default()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    #[test]
    fn an_entry_put_again_changes_nothing() {
        for json in [
            r#"{"source": "rtsp://10.0.0.5/a", "detect_source": "rtsp://10.0.0.5/b", "transport": "udp", "priority": 9}"#,
            r#"{"source": "http://10.0.0.5/still.jpg", "input": "jpeg", "rate": 5, "on_demand": true, "policy": "software"}"#,
            r#"{"source": "https://10.0.0.5/a.ts", "tls": "insecure"}"#,
            r#"{"source": "push:"}"#,
            r#"{"source": "rtsps://10.0.0.5/a", "ingest": "libav", "tls": "insecure"}"#,
            r#"{"source": "test:?width=320&height=180&fps=25&audio=aac", "renditions": {
                "detect": {"width": 160, "fps": "30000/1001"}, "small": {"codec": "h264", "bitrate": "500k", "gop": 25},
                "fine": {"codec": "hevc", "quality": 70, "height": 90}, "keys": {"fps": "keyframes", "format": "gray"},
                "part": {"format": "jpeg", "quality": 70, "crop": "160:90:0:10"}}}"#,
        ] {
            let before = settings(json);
            let entry = StreamEntry::of(&before);
            assert_eq!(settings(&serde_json::to_string(&entry).unwrap()), before, "{entry:?}");
            assert!(StreamEntry::hidden(&before).is_empty(), "{json}");
        }
    }

    #[test]
    fn secrets_stay_where_they_are_and_are_said_to_be_missing() {
        let secret = settings(
            r#"{"source": "rtsp://v:hunter2@10.0.0.5/a?token=hunter2", "detect_source": "rtsp://10.0.0.5/b"}"#,
        );
        let text = serde_json::to_string(&StreamEntry::of(&secret)).unwrap();
        assert!(!text.contains("hunter2") && text.contains(r#""username":"v""#), "{text}");
        assert_eq!(StreamEntry::hidden(&secret), ["source", "password"]);
    }
}
