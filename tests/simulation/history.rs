//! What clients saw of one user, judged against what was committed of it.
//!
//! Every status text is set once, and the committed history gives the order of all of them. With that order known, the reads and writes of a user are
//! linearizable exactly when nothing below is broken.

use std::collections::BTreeMap;

/// What a client knows of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was answered with success, at this time, µs.
    Acknowledged(u64),
    /// No answer: it may have taken effect, or may later.
    Unknown,
    /// It was refused: it has no effect.
    Refused,
}

/// A status that was set, or was to be.
#[derive(Debug, Clone)]
pub struct Write {
    pub text: String,
    /// When it was asked for first, µs.
    pub began: u64,
    pub fate: Fate,
}

/// A read that the home answered as not stale.
#[derive(Debug, Clone)]
pub struct Read {
    pub text: String,
    pub began: u64,
    pub ended: u64,
}

/// What was wrong: the name of the check, and what it saw.
pub type Wrong = (&'static str, String);

/// Judges `writes` and `reads` by `committed`, the texts in the order they were committed in.
pub fn judge(committed: &[String], writes: &[Write], reads: &[Read]) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let mut place: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, text) in committed.iter().enumerate() {
        if place.insert(text, at).is_some() {
            wrong.push(("once", format!("{text} was committed twice")));
        }
    }
    let by_text: BTreeMap<&str, &Write> = writes.iter().map(|write| (write.text.as_str(), write)).collect();
    for write in writes {
        match (write.fate, place.get(write.text.as_str())) {
            (Fate::Acknowledged(_), None) => {
                wrong.push(("acknowledged-is-kept", format!("{} was acknowledged and is lost", write.text)));
            }
            (Fate::Refused, Some(_)) => wrong.push(("once", format!("{} was refused and took effect", write.text))),
            _ => {}
        }
    }
    for text in committed.iter().filter(|text| !by_text.contains_key(text.as_str())) {
        wrong.push(("once", format!("{text} was committed, and nobody asked for it")));
    }
    // What was over before something began stands before it: places that are known to be passed, by time.
    let mut passed: Vec<(u64, usize, &str)> = Vec::new();
    for write in writes {
        if let (Fate::Acknowledged(at), Some(place)) = (write.fate, place.get(write.text.as_str())) {
            passed.push((at, *place, &write.text));
        }
    }
    for read in reads {
        match place.get(read.text.as_str()) {
            Some(place) => passed.push((read.ended, *place, &read.text)),
            None => wrong.push(("published-is-committed", format!("{} was read and is not committed", read.text))),
        }
    }
    let latest = |before: u64| passed.iter().filter(|(at, ..)| *at < before).max_by_key(|(_, place, _)| *place);
    for write in writes {
        if let (Some(place), Some((at, later, text))) = (place.get(write.text.as_str()), latest(write.began))
            && place < later
        {
            let text = format!("{} began at {} µs, after {text} was there at {at} µs", write.text, write.began);
            wrong.push(("linearizable", format!("{text}, and was committed before it")));
        }
    }
    for read in reads {
        let Some(place) = place.get(read.text.as_str()) else { continue };
        if let Some((at, later, text)) = latest(read.began)
            && place < later
        {
            let seen = format!("{} was read from {} to {} µs", read.text, read.began, read.ended);
            wrong.push(("linearizable", format!("{seen}, after {text} was there at {at} µs")));
        }
        if by_text.get(read.text.as_str()).is_some_and(|write| write.began > read.ended) {
            wrong.push(("linearizable", format!("{} was read before it was asked for", read.text)));
        }
    }
    wrong
}

/// Shows that every check sees what it is there for.
pub fn prove() -> Result<(), String> {
    let write = |text: &str, began, fate| Write { text: text.into(), began, fate };
    let read = |text: &str, began, ended| Read { text: text.into(), began, ended };
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let writes = [
        write("a", 0, Fate::Acknowledged(10)),
        write("b", 20, Fate::Acknowledged(30)),
        write("c", 25, Fate::Unknown),
        write("d", 40, Fate::Refused),
    ];
    let good = [read("a", 11, 19), read("b", 31, 32), read("a", 12, 50)];
    let cases: [(&str, Vec<String>, Vec<Read>); 8] = [
        ("", texts(&["a", "b"]), good.to_vec()),
        ("", texts(&["a", "c", "b"]), good.to_vec()),
        ("acknowledged-is-kept", texts(&["a"]), vec![]),
        ("once", texts(&["a", "b", "c", "c"]), vec![]),
        ("once", texts(&["a", "b", "d"]), vec![]),
        ("linearizable", texts(&["b", "a"]), vec![]),
        ("linearizable", texts(&["a", "b"]), vec![read("a", 31, 32)]),
        ("published-is-committed", texts(&["a", "b"]), vec![read("c", 31, 32)]),
    ];
    for (wanted, committed, reads) in cases {
        let found = judge(&committed, &writes, &reads);
        let fits = if wanted.is_empty() { found.is_empty() } else { found.iter().any(|(name, _)| *name == wanted) };
        if !fits {
            return Err(format!("{committed:?} {reads:?}: wanted {wanted:?}, found {found:?}"));
        }
    }
    Ok(())
}
