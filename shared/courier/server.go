package courier

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"sentinel.home.arpa/shared/wire"
)

// ErrorBody is how every error of the HTTP interfaces reads.
type ErrorBody struct {
	Error string `json:"error"`
	Field string `json:"field,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

// Fault is an error with the HTTP status that tells it.
type Fault struct {
	Status int
	Reason string // for sentinel_messages_refused_total: malformed, too-large, slow, unknown, forged, forbidden...
	Hint   string
	Err    error
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

// Receive reads the envelope of a request. Nothing in it is verified yet. The raw bytes
// are returned beside it, for whoever passes them on.
func Receive(w http.ResponseWriter, r *http.Request) (*wire.Envelope, []byte, error) {
	data, err := readAll(w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, nil, &Fault{Status: http.StatusRequestEntityTooLarge, Reason: "too-large",
			Err: fmt.Errorf("the message is over %d bytes", wire.MaxEnvelope)}
	case err != nil:
		return nil, nil, &Fault{Status: http.StatusRequestTimeout, Reason: "slow",
			Err: errors.New("the message did not arrive whole")}
	}
	e, err := wire.Read(data)
	if err != nil {
		return nil, nil, &Fault{Status: http.StatusBadRequest, Reason: "malformed", Err: err}
	}
	return e, data, nil
}

// readAll reads a body; one whose size was announced, and which cannot be longer then,
// without growing towards it.
func readAll(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength <= 0 || r.ContentLength > wire.MaxEnvelope {
		return io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxEnvelope))
	}
	data := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, data)
	return data, err
}

// Decode verifies an envelope against its sender's key and reads its message.
func Decode(e *wire.Envelope, key wire.PublicKey, kind wire.Kind, into wire.Message) error {
	if err := e.Verify(key); err != nil {
		return &Fault{Status: http.StatusForbidden, Reason: "forged", Err: err,
			Hint: "the key of " + e.Header.Node + " is another one: restore it, or write the new one into cloud.yaml"}
	}
	return DecodeVouched(e, kind, into)
}

// DecodeVouched is Decode without the signature: only for what somebody else vouches for.
func DecodeVouched(e *wire.Envelope, kind wire.Kind, into wire.Message) error {
	if err := e.Decode(kind, into); err != nil {
		return &Fault{Status: http.StatusBadRequest, Reason: "malformed", Err: err}
	}
	return nil
}

// Reply signs and sends an answer.
func Reply(w http.ResponseWriter, a wire.Answer, key wire.Key) error {
	data, err := wire.Seal(wire.KindAnswer, a, key)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	withOrder(w, &a)
	_, err = w.Write(data)
	return err
}

// headerOrder carries a sealed wire.Order beside an answer.
const headerOrder = "Sentinel-Order"

func withOrder(w http.ResponseWriter, a *wire.Answer) {
	if len(a.Order) > 0 {
		w.Header().Set(headerOrder, string(a.Order))
	}
}

// TakesBare reports whether an asker wants its answer without a signature: it has no key
// to hold it against, and whoever dialled vouches for the answerer.
func TakesBare(r *http.Request) bool { return r.Header.Get("Accept") == string(wire.KindAnswer) }

// ReplyBare sends an answer as it is, to who TakesBare.
func ReplyBare(w http.ResponseWriter, a *wire.Answer) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", string(wire.KindAnswer))
	withOrder(w, a)
	_, err = w.Write(data)
	return err
}

// Fail sends an error and returns the reason to count it under.
func Fail(w http.ResponseWriter, err error) string {
	f := &Fault{Status: http.StatusInternalServerError, Reason: "internal", Err: err}
	errors.As(err, &f)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.Status)
	// The client may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(ErrorBody{Error: f.Error(), Hint: f.Hint})
	return f.Reason
}
