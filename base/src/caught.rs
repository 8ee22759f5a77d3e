//! The edge of code that may panic: what lies behind it ends with a sentence, and whoever called it goes on.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs what may panic. Whatever it worked on may be half done afterwards.
///
/// # Errors
/// What it panicked with.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panic_text(&*panic).to_string())
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::resume_unwind;

    #[test]
    fn a_panic_is_a_sentence_whatever_it_was_made_of_and_anything_else_an_answer() {
        assert_eq!(caught(|| 7), Ok(7));
        let panics: [(Box<dyn Any + Send>, &str); 3] = [
            (Box::new("a text"), "a text"),
            (Box::new("one".to_string() + "two"), "onetwo"),
            (Box::new(7), "without a message"),
        ];
        for (panic, text) in panics {
            assert_eq!(caught(|| resume_unwind(panic)), Err::<(), _>(text.to_string()));
        }
    }
}
