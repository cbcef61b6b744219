//! The one error type. Kinds have the same names in Rust, Python and Java (STYLE.md rule 22).
//!
//! An error says what failed and with which values (one line, lower case), and a hint on its own line says what helps.
//! Layers that pass an error on add their operation and values with [`Error::with`].

use std::error::Error as StdError;
use std::fmt;

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The call is wrong: fix it.
    Invalid,
    /// The thing named does not exist.
    NotFound,
    /// Somebody else changed it: read again, decide again.
    Conflict,
    /// This engine cannot do that.
    Unsupported,
    /// An outside system does not answer: back off and try again.
    Unavailable,
    /// Too much at once: slow down or give more room.
    Throttled,
    /// A newer owner exists: reopen.
    Fenced,
    /// Stored data is wrong: stop and restore.
    Corrupt,
    /// A bug of ours: report it.
    Internal,
}

impl Kind {
    /// All kinds, in the order of the style page.
    pub const ALL: [Kind; 9] = [
        Kind::Invalid,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Unsupported,
        Kind::Unavailable,
        Kind::Throttled,
        Kind::Fenced,
        Kind::Corrupt,
        Kind::Internal,
    ];

    /// The name that Python and Java know it by.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Invalid => "Invalid",
            Kind::NotFound => "NotFound",
            Kind::Conflict => "Conflict",
            Kind::Unsupported => "Unsupported",
            Kind::Unavailable => "Unavailable",
            Kind::Throttled => "Throttled",
            Kind::Fenced => "Fenced",
            Kind::Corrupt => "Corrupt",
            Kind::Internal => "Internal",
        }
    }

    /// Whether the same call may succeed later without a change.
    pub fn is_retryable(self) -> bool {
        matches!(self, Kind::Unavailable | Kind::Throttled)
    }
}

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong; small to pass on, the particulars are boxed.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    message: String,
    hint: String,
    operation: String,
    context: Vec<(&'static str, String)>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind; `message` is lower case, without a full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error(Box::new(Parts {
            kind,
            message: message.into(),
            hint: String::new(),
            operation: String::new(),
            context: Vec::new(),
            cause: None,
        }))
    }

    /// Adds a value that explains the failure.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// Says what the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = hint.into();
        self
    }

    /// Names the operation that failed; an outer one is put before it.
    #[must_use]
    pub fn during(mut self, operation: &str) -> Self {
        self.0.operation = match self.0.operation.as_str() {
            "" => operation.to_owned(),
            inner => format!("{operation} > {inner}"),
        };
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What failed, with its values, without the hint.
    pub fn message(&self) -> String {
        let mut text = self.0.message.clone();
        for (name, value) in &self.0.context {
            text.push_str(&format!(", {name}=`{value}`"));
        }
        text
    }

    /// What failed, without its values.
    pub fn summary(&self) -> String {
        match &self.0.cause {
            Some(cause) => format!("{}: {cause}", self.0.message),
            None => self.0.message.clone(),
        }
    }

    /// The values that explain the failure.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// What helps; empty when there is nothing to say.
    pub fn hint_text(&self) -> &str {
        &self.0.hint
    }

    /// The operations that failed, outermost first, joined by ` > `.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message())?;
        if let Some(cause) = &self.0.cause {
            write!(out, ": {cause}")?;
        }
        if self.0.hint.is_empty() {
            Ok(())
        } else {
            write!(out, "\nhint: {}", self.0.hint)
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_ref().map(|cause| cause.as_ref() as &(dyn StdError + 'static))
    }
}

/// The kind that an operating system's error has for us.
pub(crate) fn kind_of_io(error: &std::io::Error) -> Kind {
    match error.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        std::io::ErrorKind::AlreadyExists => Kind::Conflict,
        std::io::ErrorKind::InvalidInput
        | std::io::ErrorKind::PermissionDenied
        | std::io::ErrorKind::NotADirectory
        | std::io::ErrorKind::IsADirectory => Kind::Invalid,
        _ => Kind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Message, values and hint are one text in a fixed form.
    #[test]
    fn text_has_values_and_hint() {
        let error = Error::new(Kind::Throttled, "state does not fit its memory").with("wanted_bytes", 16).hint("more");
        assert_eq!(error.to_string(), "state does not fit its memory, wanted_bytes=`16`\nhint: more");
        assert!(error.kind().is_retryable());
        assert_eq!(error.during("put").during("load").operation(), "load > put");
    }
}
