package main

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decode puts raw, as YAML, a flag or a variable gave it, into the field. Nothing is guessed: a number is no duration and
// no string, or a secret like 0123 would be read as an octal number.
func decode(field reflect.Value, raw any) error {
	if raw == nil {
		return nil
	}
	text, isText := raw.(string)
	switch field.Interface().(type) {
	case time.Duration:
		return decodeDuration(field, raw)
	case []string:
		return decodeList(field, raw)
	case string:
		if !isText {
			return fmt.Errorf("%v is not a text; put it in quotes", raw)
		}
		field.SetString(text)
	case bool:
		truth, ok := raw.(bool)
		if !ok && text != "true" && text != "false" {
			return fmt.Errorf("%v is neither true nor false", raw)
		}
		field.SetBool(truth || text == "true")
	case int, uint32:
		n, err := strconv.ParseInt(strings.ReplaceAll(fmt.Sprint(raw), "_", ""), 10, 64)
		if err != nil {
			return fmt.Errorf("%v is not a whole number", raw)
		}
		return setNumber(field, n)
	default:
		return fmt.Errorf("settings of type %s are not supported", field.Type())
	}
	return nil
}

func decodeDuration(field reflect.Value, raw any) error {
	if d, ok := raw.(time.Duration); ok {
		field.SetInt(int64(d))
		return nil
	}
	d, err := time.ParseDuration(fmt.Sprint(raw))
	if err != nil {
		return fmt.Errorf("%v is not a duration; write a number with a unit, such as 35s, 5m or 24h", raw)
	}
	field.SetInt(int64(d))
	return nil
}

// decodeList takes a list of texts, or one text with commas in it.
func decodeList(field reflect.Value, raw any) error {
	var list []string
	switch raw := raw.(type) {
	case []string:
		list = slices.Clone(raw)
	case string:
		if raw != "" {
			list = strings.Split(raw, ",")
		}
	case []any:
		for i, entry := range raw {
			text, ok := entry.(string)
			if !ok {
				return fmt.Errorf("entry %d, %v, is not a text; put it in quotes", i+1, entry)
			}
			list = append(list, text)
		}
	default:
		return fmt.Errorf("%v is neither a list nor a text with commas", raw)
	}
	for i, text := range list {
		if list[i] = strings.TrimSpace(text); list[i] == "" {
			return fmt.Errorf("entry %d is empty", i+1)
		}
	}
	field.Set(reflect.ValueOf(list))
	return nil
}

func setNumber(field reflect.Value, n int64) error {
	if field.Kind() == reflect.Uint32 {
		if n < 0 || field.OverflowUint(uint64(n)) {
			return fmt.Errorf("%d is not in 0..4294967295", n)
		}
		field.SetUint(uint64(n))
		return nil
	}
	field.SetInt(n)
	return nil
}
