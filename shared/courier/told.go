package courier

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"sentinel.home.arpa/shared/wire"
)

// Nearly every answer to a node's heartbeat says what the one before said. Where answers
// come bare, such a one has no body: the asker names what it was told last, and hears that
// it still holds. If-None-Match is not for this: it keeps a POST from being taken.
const (
	headerTold    = "Sentinel-Told"    // names what an answer tells
	headerAnswers = "Sentinel-Answers" // the request that an answer without a body is to
)

// receiversTold bounds for how many receivers a client remembers what they told.
const receiversTold = 16

// Told is what the last answer over a connection told. It is safe for concurrent use; the
// zero value is ready.
type Told struct {
	mu     sync.Mutex
	answer wire.Answer
	name   string
}

// of names what an answer tells: all of it but its seq and its request.
func (t *Told) of(a *wire.Answer) (string, error) {
	what := *a
	what.Seq, what.To, what.ToBoot, what.ToSeq, what.Order = 0, "", "", 0, nil
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.name != "" && what.Header == t.answer.Header && what.BrainKey == t.answer.BrainKey &&
		what.Leaving == t.answer.Leaving && slices.Equal(what.Pis, t.answer.Pis) {
		return t.name, nil
	}
	data, err := json.Marshal(what)
	if err != nil {
		return "", fmt.Errorf("encode the answer: %w", err)
	}
	sum := sha256.Sum256(data)
	what.Pis = slices.Clone(what.Pis)
	t.answer, t.name = what, hex.EncodeToString(sum[:16])
	return t.name, nil
}

// lasts reports whether what an answer tells may be said to hold still. What a Pi acts on,
// and what was taken of one request, is told each time.
func lasts(a *wire.Answer) bool {
	return a.Mandate == nil && a.Bundle == nil && a.Calls == nil && len(a.Taken) == 0
}

// request names what an answer is to, as wire.Answer does.
func request(node, boot string, seq int64) string {
	name := make([]byte, 0, 128)
	name = append(append(append(append(name, node...), ' '), boot...), ' ')
	return string(strconv.AppendInt(name, seq, 10))
}

// ReplyTold is ReplyBare for a node's heartbeat: without a body if the asker says that it
// was told the same before. t belongs to its connection.
func ReplyTold(w http.ResponseWriter, r *http.Request, a *wire.Answer, t *Told) error {
	if !lasts(a) {
		return ReplyBare(w, a)
	}
	name, err := t.of(a)
	if err != nil {
		return err
	}
	if r.Header.Get(headerTold) != name {
		w.Header().Set(headerTold, name)
		return ReplyBare(w, a)
	}
	withOrder(w, a)
	w.Header().Set(headerAnswers, request(a.To, a.ToBoot, a.ToSeq))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// told is what a receiver told a client.
type told struct {
	name   string
	answer wire.Answer
}

// untold reports whether all is to be told each time: where a receiver signs its answers, a
// header says nothing.
func untold(by Receiver, path string) bool { return by.Key != "" || path != PathHeartbeat }

// takeTold is what a receiver told last, if it may be asked whether it still holds. It is
// forgotten until it is confirmed, so that trouble of any kind ends with all being told.
func (c *Client) takeTold(by Receiver, path string) (told, bool) {
	if untold(by, path) {
		return told{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.told[by]
	delete(c.told, by)
	return t, ok
}

// keepTold remembers an answer to a heartbeat, under the name that the receiver gives it.
func (c *Client) keepTold(by Receiver, path, name string, a *wire.Answer) {
	if name == "" || untold(by, path) || !lasts(a) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told == nil || len(c.told) == receiversTold {
		c.told = map[Receiver]told{}
	}
	c.told[by] = told{name, *a}
}

// holds is the answer that was told, as one to a request that the receiver says it took.
// Its header stays that of the time when it was told.
func (t *told) holds(of http.Header, h wire.Header) (*wire.Answer, error) {
	if of.Get(headerAnswers) != request(h.Node, h.Boot, h.Seq) {
		return nil, errors.New("it answers another request")
	}
	a := t.answer
	a.To, a.ToBoot, a.ToSeq, a.Pis = h.Node, h.Boot, h.Seq, slices.Clone(a.Pis)
	return &a, nil
}
