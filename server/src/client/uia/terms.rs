//! The stage `m.login.terms`. Client-Server API, "Terms of service at registration".

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::config::Policy;

/// The documents as `params` of the stage, for clients to present.
pub fn params(policies: &[Policy]) -> Value {
    let describe = |policy: &Policy| {
        let mut description: Map<String, Value> = policy
            .languages
            .iter()
            .map(|(language, text)| (language.clone(), json!({ "name": text.name, "url": text.url })))
            .collect();
        description.insert("version".to_owned(), policy.version.as_str().into());
        (policy.id.clone(), Value::Object(description))
    };
    json!({ "policies": policies.iter().map(describe).collect::<Map<_, _>>() })
}

/// The documents' versions by their ids, to which a user agrees.
pub fn versions(policies: &[Policy]) -> Value {
    policies.iter().map(|policy| (policy.id.clone(), Value::from(policy.version.as_str()))).collect()
}

/// The form on the stage's page. It submits the versions that it shows.
pub fn form(policies: &[Policy]) -> String {
    let mut form = String::from("<form method='post'><p>To register, please read and agree to:</p><ul>");
    for policy in policies {
        let links = policy.languages.iter().map(|(language, text)| {
            format!(
                "<a href='{}' hreflang='{language}' lang='{language}' target='_blank' rel='noopener'>{}</a>",
                escape(&text.url),
                escape(&text.name),
                language = escape(language),
            )
        });
        let _infallible = write!(form, "<li>{}</li>", links.collect::<Vec<_>>().join(" · "));
    }
    let versions = escape(&versions(policies).to_string());
    let _infallible = write!(
        form,
        "</ul><input type='hidden' name='versions' value='{versions}'>\
        <p><label><input type='checkbox' name='agreed' value='yes' required> I agree</label></p>\
        <button>Continue</button></form>"
    );
    form
}

/// Escapes text for HTML, also within quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}
