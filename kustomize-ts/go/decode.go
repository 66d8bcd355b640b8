package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// decode reads YAML or JSON documents the way kubectl reads a file: with its decoder, leaving out empty documents.
func decode(input []byte) ([]byte, int32) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(input), 4096)
	documents := []byte{'['}
	for {
		var document json.RawMessage
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return append(documents, ']'), statusOK
		}
		if err != nil {
			return failed(err, nil)
		}
		raw := bytes.TrimSpace(document)
		if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
			continue
		}
		if len(documents) > 1 {
			documents = append(documents, ',')
		}
		documents = append(documents, raw...)
	}
}
