//! [Dot-separated property paths](https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths),
//! used by filters and push rules: `content.m\.relates_to` is the property `m.relates_to` of `content`.

/// The path of these property names, outermost first.
pub fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let escape = |name: &str| name.replace('\\', r"\\").replace('.', r"\.");
    names.into_iter().map(escape).collect::<Vec<_>>().join(".")
}

/// The property names of a path, outermost first. A backslash that is not before a dot or a backslash stands
/// for itself.
pub fn split(path: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut chars = path.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '.' => names.push(std::mem::take(&mut name)),
            '\\' => name.push(chars.next_if(|next| matches!(next, '.' | '\\')).unwrap_or('\\')),
            other => name.push(other),
        }
    }
    names.push(name);
    names
}

#[cfg(test)]
mod tests;
