package twiliosim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const maxMessage = 1600 // characters

// Message is a text message that the API accepted.
type Message struct {
	SID, To, From, Body string
	Created             time.Time
}

type message struct{ Message }

// Messages returns all messages, oldest first.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Message, 0, len(s.messages))
	for _, m := range s.messages {
		out = append(out, m.Message)
	}
	return out
}

func (s *Server) createMessage(r request) answer {
	to, from, body := r.form.Get("To"), r.form.Get("From"), r.form.Get("Body")
	switch {
	case to == "":
		return refusal(21604, "A 'To' phone number is required.")
	case from == "":
		return refusal(21603, "A 'From' phone number is required.")
	case !e164.MatchString(to):
		return refusal(21211, "Invalid 'To' Phone Number: "+to)
	case !slices.Contains(s.cfg.Numbers, from):
		return refusal(21606, "The 'From' phone number "+from+" is not a valid, message-capable number of your account.")
	case body == "":
		return refusal(21602, "Message body is required.")
	case utf8.RuneCountInString(body) > maxMessage:
		return refusal(21617, "The concatenated message body exceeds the 1600 character limit.")
	}
	if v, ok := integer(r, "ValidityPeriod", 1); !ok || v < 1 || v > 36000 {
		return refusal(20001, "Invalid ValidityPeriod")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if no, ok := s.peek(to).(Refuse); ok {
		s.next(to)
		return refusal(no.Code, "Refused by the simulation")
	}
	m := &message{Message{SID: newSID("SM"), To: to, From: from, Body: body, Created: time.Now()}}
	s.messages = append(s.messages, m)
	return jsonAnswer(http.StatusCreated, s.messageJSON(m))
}

func (s *Server) getMessage(r request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	sid, ok := strings.CutSuffix(r.PathValue("file"), ".json")
	for _, m := range s.messages {
		if ok && m.SID == sid {
			return jsonAnswer(http.StatusOK, s.messageJSON(m))
		}
	}
	return notFound(r)
}

func (s *Server) listMessages(r request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []any{}
	for _, m := range slices.Backward(s.messages) {
		if wanted(r, "To", m.To) && wanted(r, "From", m.From) {
			items = append(items, s.messageJSON(m))
		}
	}
	return list(r, "messages", items)
}

// messageJSON is the Message resource. Delivery needs no goroutine: it follows
// from the message's age.
func (s *Server) messageJSON(m *message) map[string]any {
	uri := "/2010-04-01/Accounts/" + s.cfg.AccountSID + "/Messages/" + m.SID
	status, updated := "queued", m.Created
	var sent any
	if done := m.Created.Add(s.cfg.Timing.Deliver); !time.Now().Before(done) {
		status, updated, sent = "delivered", done, rfc2822(&done)
	}
	return map[string]any{
		"sid": m.SID, "account_sid": s.cfg.AccountSID, "messaging_service_sid": nil, "api_version": "2010-04-01",
		"to": m.To, "from": m.From, "body": m.Body, "direction": "outbound-api", "status": status,
		"date_created": rfc2822(&m.Created), "date_updated": rfc2822(&updated), "date_sent": sent,
		"num_segments": strconv.Itoa(1 + (utf8.RuneCountInString(m.Body)-1)/153), "num_media": "0",
		"price": nil, "price_unit": "USD", "error_code": nil, "error_message": nil,
		"uri": uri + ".json", "subresource_uris": map[string]any{"media": uri + "/Media.json"},
	}
}
