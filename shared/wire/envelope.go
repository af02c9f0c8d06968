package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Limits, in bytes. An envelope is its payload in base64 and a signature.
const (
	MaxPayload  = 64 << 10
	MaxEnvelope = 96 << 10
)

// Kind is what a message is: the payload type that its signature covers.
type Kind string

// The kinds of messages.
const (
	KindHeartbeat    Kind = "application/vnd.sentinel.heartbeat+json"
	KindAnnouncement Kind = "application/vnd.sentinel.announcement+json"
	KindUPS          Kind = "application/vnd.sentinel.ups+json"
	KindRelay        Kind = "application/vnd.sentinel.relay+json"
	KindRecord       Kind = "application/vnd.sentinel.record+json"
	KindAnswer       Kind = "application/vnd.sentinel.answer+json"
	KindConnect      Kind = "application/vnd.sentinel.connect+json"
	KindOrder        Kind = "application/vnd.sentinel.order+json"
)

// Errors of reading an envelope.
var (
	ErrSignature = errors.New("the signature is wrong")
	ErrMalformed = errors.New("malformed")
)

// Seal signs a message. The result is what crosses the network and lies in spools.
func Seal(kind Kind, message any, key Key) ([]byte, error) {
	payload, err := json.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("encode %s: %d bytes are over the limit of %d", kind, len(payload), MaxPayload)
	}
	signer, err := dsse.NewEnvelopeSigner(key)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", kind, err)
	}
	e, err := signer.SignPayload(context.Background(), string(kind), payload)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", kind, err)
	}
	return json.Marshal(e)
}

// Envelope is a message that was read but not yet believed.
type Envelope struct {
	Kind   Kind
	Header Header    // what it claims
	Signer PublicKey // who claims it
	inner  dsse.Envelope
	body   []byte
	// heartbeat is the message of one that reads as such; no more believed than the rest.
	heartbeat *Heartbeat
}

// Read takes an envelope apart. Nothing in it may be believed before Verify.
func Read(data []byte) (*Envelope, error) {
	if len(data) > MaxEnvelope {
		return nil, fmt.Errorf("%w: %d bytes are over the limit of %d", ErrMalformed, len(data), MaxEnvelope)
	}
	var e Envelope
	if !e.plain(data) {
		if err := Strict(data, &e.inner); err != nil {
			return nil, fmt.Errorf("%w envelope: %w", ErrMalformed, err)
		}
	}
	if len(e.inner.Signatures) != 1 {
		return nil, fmt.Errorf("%w envelope: %d signatures instead of one", ErrMalformed, len(e.inner.Signatures))
	}
	body, err := e.inner.DecodeB64Payload()
	if err != nil {
		return nil, fmt.Errorf("%w envelope: payload: %w", ErrMalformed, err)
	}
	if len(body) > MaxPayload {
		return nil, fmt.Errorf("%w: a payload of %d bytes is over the limit of %d", ErrMalformed, len(body), MaxPayload)
	}
	e.Kind, e.body = Kind(e.inner.PayloadType), body
	e.Signer = PublicKey(e.inner.Signatures[0].KeyID)
	if err := e.Signer.Validate(); err != nil {
		return nil, fmt.Errorf("%w envelope: keyid: %w", ErrMalformed, err)
	}
	if e.Kind == KindHeartbeat { // a second each of every sender: once is enough for these
		var m Heartbeat
		if m.plain(body) || Strict(body, &m) == nil {
			e.Header, e.heartbeat = m.Header, &m
			return &e, e.Header.validate()
		}
	}
	if err := json.Unmarshal(body, &e.Header); err != nil {
		return nil, fmt.Errorf("%w payload: %w", ErrMalformed, inWords(err, len(body)))
	}
	return &e, e.Header.validate()
}

// Verify checks the signature against the key that its sender is known by.
func (e *Envelope) Verify(key PublicKey) error {
	v, err := dsse.NewEnvelopeVerifier(key)
	if err != nil {
		return err
	}
	if _, err := v.Verify(context.Background(), &e.inner); err != nil {
		return fmt.Errorf("%s from %q: %w", e.Kind, e.Header.Node, ErrSignature)
	}
	return nil
}

// Message is what Decode fills in.
type Message interface{ Validate() error }

// Decode reads the message of a verified envelope, if it is of that kind.
func (e *Envelope) Decode(kind Kind, into Message) error {
	if e.Kind != kind {
		return fmt.Errorf("%w: a %s where a %s is due", ErrMalformed, e.Kind, kind)
	}
	if m, ok := into.(*Heartbeat); ok && e.heartbeat != nil {
		*m = *e.heartbeat
		return valid(m)
	}
	return decode(e.body, into)
}

func decode(payload []byte, into Message) error {
	if err := Strict(payload, into); err != nil {
		return fmt.Errorf("%w payload: %w", ErrMalformed, err)
	}
	return valid(into)
}

func valid(m Message) error {
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%w payload: %w", ErrMalformed, err)
	}
	return nil
}

// Strict decodes one JSON value without unknown fields and with nothing behind it. Its
// errors are words for people.
func Strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return inWords(err, len(data))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}
