//! Writes JSON text from pieces of JSON text, so that stored events are copied without being parsed again.

use serde::Serialize;

/// An object being written. Keys are written in the order of the calls.
pub struct Object<'o> {
    out: &'o mut String,
    empty: bool,
}

impl<'o> Object<'o> {
    /// Opens an object at the end of `out`. [`Object::close`] must follow.
    pub fn open(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, empty: true }
    }

    /// Continues an object that has keys and was not closed.
    pub fn reopen(out: &'o mut String) -> Self {
        Self { out, empty: false }
    }

    pub fn close(self) {
        self.out.push('}');
    }

    fn key(&mut self, key: &str) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        push(self.out, key);
        self.out.push(':');
    }

    /// Adds a value.
    pub fn value(&mut self, key: &str, value: impl Serialize) -> &mut Self {
        self.key(key);
        push(self.out, value);
        self
    }

    /// Adds a value that is JSON text.
    pub fn raw(&mut self, key: &str, json: &str) -> &mut Self {
        self.key(key);
        self.out.push_str(json);
        self
    }

    /// Adds an object, whose keys `fill` writes.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        self.key(key);
        object(self.out, fill);
        self
    }

    /// Adds an array whose items are JSON texts.
    pub fn array<T: AsRef<str>>(&mut self, key: &str, items: impl IntoIterator<Item = T>) -> &mut Self {
        self.key(key);
        array(self.out, items);
        self
    }

    /// Adds `{"events": […]}`, as the response of `/sync` has it in several places.
    pub fn events<T: AsRef<str>>(&mut self, key: &str, events: impl IntoIterator<Item = T>) -> &mut Self {
        self.object(key, |section| {
            section.array("events", events);
        })
    }
}

/// Writes an object at the end of `out`.
pub fn object(out: &mut String, fill: impl FnOnce(&mut Object<'_>)) {
    let mut object = Object::open(out);
    fill(&mut object);
    object.close();
}

/// An object as JSON text.
pub fn object_text(fill: impl FnOnce(&mut Object<'_>)) -> String {
    let mut out = String::new();
    object(&mut out, fill);
    out
}

/// Writes an array of JSON texts at the end of `out`.
pub fn array<T: AsRef<str>>(out: &mut String, items: impl IntoIterator<Item = T>) {
    out.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(item.as_ref());
    }
    out.push(']');
}

/// Writes a value at the end of `out`.
///
/// # Panics
///
/// If the value has no JSON form, such as a map whose keys are not strings.
fn push(out: &mut String, value: impl Serialize) {
    out.push_str(&serde_json::to_string(&value).unwrap_or_else(|error| panic!("not JSON: {error}")));
}

#[cfg(test)]
mod tests;
