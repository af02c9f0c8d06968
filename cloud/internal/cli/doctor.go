package cli

import (
	"io"
	"slices"

	"sentinel.home.arpa/shared/doctor"
)

// Doctor writes one screen: what was found without the running brain, and what that finds of itself
// and of all that it watches. It ends with ErrBadNews if something is wrong.
func (o Operator) Doctor(w io.Writer, own []doctor.Finding, asJSON bool) error {
	var answer struct{ Findings []doctor.Finding }
	if _, err := o.readWithin(machinesWithin, "/api/v1/doctor", &answer); err != nil {
		answer.Findings = []doctor.Finding{{What: "brain", State: doctor.Wrong, Say: err.Error(),
			Do: "what only the running brain sees was not looked at; `systemctl status sentinel-cloud`, and run this with sudo"}}
	}
	found := slices.Concat(own, answer.Findings)
	text, err := doctor.Text(found, asJSON)
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if !doctor.Well(found) {
		return ErrBadNews
	}
	return nil
}
