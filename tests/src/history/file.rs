//! A history as a file: a record a line, as JSON, so that a failing run is kept and judged again.

use super::{History, Record};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
};

impl History {
    /// Writes it to `path`, over whatever is there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        self.write_to(&mut file)?;
        file.flush()
    }

    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |record: Record| {
            serde_json::to_writer(&mut *out, &record)?;
            out.write_all(b"\n")
        };
        line(Record::Promises(self.promises.clone()))?;
        self.faults.iter().try_for_each(|r| line(Record::Fault(r.clone())))?;
        self.ops.iter().try_for_each(|r| line(Record::Op(r.clone())))?;
        self.links.iter().try_for_each(|r| line(Record::Link(r.clone())))?;
        self.sightings.iter().try_for_each(|r| line(Record::Sighting(r.clone())))?;
        self.lives.iter().try_for_each(|r| line(Record::Life(r.clone())))?;
        self.roles.iter().try_for_each(|r| line(Record::Role(r.clone())))?;
        self.reads.iter().try_for_each(|r| line(Record::Read(r.clone())))?;
        self.pages.iter().try_for_each(|r| line(Record::Pages(r.clone())))?;
        self.samples.iter().try_for_each(|r| line(Record::Sample(r.clone())))?;
        self.quiet_at.map_or(Ok(()), |at| line(Record::Quiet { at }))?;
        if self.dropped > 0 { line(Record::Dropped { count: self.dropped }) } else { Ok(()) }
    }

    /// Reads what [`keep`](Self::keep) wrote.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is no record: with its number.
    pub fn kept(path: &Path) -> io::Result<Self> {
        let mut history = Self::default();
        for (number, line) in (1..).zip(BufReader::new(File::open(path)?).lines()) {
            let record = serde_json::from_str(&line?)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: {e}")))?;
            history.push(record);
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::holding;

    #[test]
    fn a_history_that_was_kept_is_read_back_whole() {
        let mut history = holding();
        history.dropped = 3;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("run.jsonl");
        history.keep(&path).expect("a file");
        assert_eq!(History::kept(&path).expect("a history"), history);
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("run.jsonl");
        std::fs::write(&path, "{\"record\":\"quiet\",\"at\":1}\n{}\n").expect("a file");
        let refused = History::kept(&path).expect_err("no record");
        assert!(refused.to_string().contains("line 2"), "{refused}");
    }

    #[test]
    fn records_beyond_the_bound_are_counted_and_left_out() {
        let mut history = History::default();
        for record in holding().roles.iter().cloned().map(Record::Role).take(3) {
            history.push_within(record, 2);
        }
        assert_eq!((history.roles.len(), history.dropped), (2, 1));
    }
}
