package cli

import "io"

// Digest writes what a digest would say now.
func (o Operator) Digest(w io.Writer, asJSON bool) error {
	var d struct{ Subject, Text string }
	data, err := o.read("/api/v1/digest", &d)
	if err != nil {
		return err
	}
	if !asJSON {
		data = []byte(d.Subject + "\n\n" + d.Text + "\n")
	}
	_, err = w.Write(data)
	return err
}
