package wire

import (
	"bytes"
	"strconv"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// What is spelled just as Seal spells it is taken apart here without encoding/json, for
// there is a heartbeat a second from everybody. Any other spelling of the same JSON is
// read as JSON, to the same result.

// scan reads such a text from its beginning.
type scan struct {
	rest []byte
	ok   bool // so far
}

// scanOf refuses texts in which a string might be other than it looks.
func scanOf(text []byte) scan {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			return scan{}
		}
	}
	return scan{text, true}
}

func (s *scan) at(text string) bool {
	return len(s.rest) >= len(text) && string(s.rest[:len(text)]) == text
}

func (s *scan) skip(text string) {
	if s.ok = s.ok && s.at(text); s.ok {
		s.rest = s.rest[len(text):]
	}
}

// text is the string that follows what stands before it.
func (s *scan) text(before string) []byte {
	s.skip(before)
	text, rest, ok := bytes.Cut(s.rest, []byte{'"'})
	s.rest, s.ok = rest, s.ok && ok
	return text
}

// optional is text of a field that may be missing.
func (s *scan) optional(before string) []byte {
	if !s.at(before) {
		return nil
	}
	return s.text(before)
}

// number is the whole number, above zero, that follows what stands before it.
func (s *scan) number(before string) int64 {
	s.skip(before)
	end := 0
	for end < len(s.rest) && '0' <= s.rest[end] && s.rest[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(string(s.rest[:end]), 10, 64)
	s.ok = s.ok && err == nil && s.rest[0] != '0'
	s.rest = s.rest[end:]
	return n
}

// end reports whether the text ends so, and all of it was as it should be.
func (s *scan) end(text string) bool {
	s.skip(text)
	return s.ok && len(s.rest) == 0
}

// plain reports whether an envelope was written as Seal does, and reads it if so.
func (e *Envelope) plain(data []byte) bool {
	s := scanOf(data)
	kind, payload := s.text(`{"payloadType":"`), s.text(`,"payload":"`)
	key, sig := s.text(`,"signatures":[{"keyid":"`), s.text(`,"sig":"`)
	if !s.end(`}]}`) {
		return false
	}
	e.inner = dsse.Envelope{PayloadType: string(kind), Payload: string(payload), Signatures: []dsse.Signature{{KeyID: string(key), Sig: string(sig)}}}
	return true
}

// plain is that of a node's heartbeat.
func (h *Heartbeat) plain(payload []byte) bool {
	s := scanOf(payload)
	s.skip(`{"v":1`)
	site, node, boot := s.optional(`,"site":"`), s.text(`,"node":"`), s.text(`,"boot":"`)
	seq, state := s.number(`,"seq":`), s.optional(`,"state":"`)
	if !s.end(`}`) {
		return false
	}
	*h = Heartbeat{Header: Header{V: 1, Site: string(site), Node: string(node), Boot: string(boot), Seq: seq}, State: string(state)}
	return true
}
