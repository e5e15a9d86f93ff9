//! Frames that a switch sends, one behind the other in one buffer.

/// Frames to send, each with its port, in order. Kept and cleared between packets, it stops allocating.
#[derive(Clone, Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// Port and end of each frame.
    frames: Vec<(u16, usize)>,
}

impl Output {
    /// An empty one.
    pub fn new() -> Self {
        Output::default()
    }

    /// Forgets the frames, keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Each frame with the port by which it leaves.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let starts = std::iter::once(0).chain(self.frames.iter().map(|(_, end)| *end));
        self.frames.iter().zip(starts).map(|((port, end), start)| (*port, &self.bytes[start..*end]))
    }

    /// Adds a frame.
    pub fn push(&mut self, port: u16, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.finish(port);
    }

    /// The buffer, to append one frame to; then call `finish`.
    #[inline]
    pub(super) fn start(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the frame that was appended.
    #[inline]
    pub(super) fn finish(&mut self, port: u16) {
        self.frames.push((port, self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut out = Output::new();
        out.push(3, b"ab");
        out.push(1, b"");
        out.start().extend_from_slice(b"cde");
        out.finish(2);
        assert_eq!(out.iter().collect::<Vec<_>>(), [(3, &b"ab"[..]), (1, b""), (2, b"cde")]);
        out.clear();
        assert!(out.is_empty() && out.iter().next().is_none());
    }
}
