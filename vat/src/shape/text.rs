//! What a [`Trace`] saw, as text.

use super::trace::{Kind, ROOT, Trace};
use super::{NoShape, ShapeError};

/// How long a text may become.
const LIMIT_BYTES: usize = 1 << 20;

pub(super) fn write(trace: &Trace) -> Result<String, ShapeError> {
    let mut around = Vec::new();
    shape(trace, ROOT, &mut around).ok_or_else(|| trace.error(ROOT, NoShape::TooLarge))
}

/// A field or a variant, so that no name reads like something else.
fn plain_name(name: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

fn list<'n>(names: impl IntoIterator<Item = &'n &'static str>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| plain_name(name)).collect();
    names.join(", ")
}

/// The shape of a node, with the nodes that stand around it; nothing when that would be too long.
fn shape(trace: &Trace, node: usize, around: &mut Vec<usize>) -> Option<String> {
    let found = &trace.nodes[node];
    match found.kind {
        Kind::Nothing => return Some("unit".to_owned()),
        Kind::Refused => return Some(String::new()),
        Kind::Leaf(name) => return Some(name.to_owned()),
        Kind::Newtype => return shape(trace, found.parts[0], around),
        Kind::Back(mut to) => {
            // A newtype leaves no trace: what it is stands for it.
            while trace.nodes[to].kind == Kind::Newtype {
                to = trace.nodes[to].parts[0];
            }
            let place = around.iter().position(|&other| other == to)?;
            return Some(format!("^{}", around.len() - place));
        }
        _ => {}
    }
    around.push(node);
    let parts: Option<Vec<String>> = match found.kind {
        Kind::Enum(names) => {
            let mut variants = Vec::new();
            let refused = |&part: &usize| trace.nodes[part].kind == Kind::Refused;
            let is_short = found.parts.iter().any(refused);
            for (index, &part) in found.parts.iter().enumerate() {
                let name = match is_short {
                    false => plain_name(names[index]),
                    true if refused(&part) => continue,
                    true => index.to_string(),
                };
                variants.push(variant(trace, part, around).map(|body| name + &body));
            }
            variants.into_iter().collect()
        }
        _ => {
            let parts = found.parts.iter();
            parts.map(|&part| shape(trace, part, around)).collect()
        }
    };
    around.pop();
    let parts = parts?;
    let text = match found.kind {
        Kind::Option => match trace.unwrapped(found.parts[0]) {
            Kind::Enum(_) if !parts[0].starts_with('<') => format!("?<{}>", parts[0]),
            _ => format!("?{}", parts[0]),
        },
        Kind::Seq => format!("[{}]", parts[0]),
        Kind::Map => format!("{{{} => {}}}", parts[0], parts[1]),
        Kind::Struct(names) if names.len() == parts.len() => {
            let fields = names.iter().zip(&parts);
            let fields: Vec<_> = fields
                .map(|(name, part)| format!("{}: {part}", plain_name(name)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Kind::Struct(names) => format!("{{{}: {}}}", list(names), parts.join(", ")),
        Kind::Enum(names) if parts.len() < names.len() => {
            format!("<{}: {}>", list(names), parts.join(" | "))
        }
        Kind::Enum(_) if parts.len() == 1 => format!("<{}>", parts[0]),
        Kind::Enum(_) => parts.join(" | "),
        // Tuples and arrays are one thing to serde.
        _ if parts.len() > 1 && parts.iter().all(|part| *part == parts[0]) => {
            format!("({}; {})", parts[0], parts.len())
        }
        _ => format!("({})", parts.join(", ")),
    };
    (text.len() <= LIMIT_BYTES).then_some(text)
}

/// What a variant has behind its name.
fn variant(trace: &Trace, node: usize, around: &mut Vec<usize>) -> Option<String> {
    match trace.nodes[node].kind {
        Kind::Nothing => Some(String::new()),
        Kind::Newtype => {
            around.push(node);
            let inner = shape(trace, trace.nodes[node].parts[0], around);
            around.pop();
            Some(format!("({})", inner?))
        }
        _ => shape(trace, node, around),
    }
}
