// openai-go: chats, streams, functions, schemas, Responses, files, jobs, embeddings, Azure. One JSON line for each cell.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/azure"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

const weather, person = "What is the weather in Oslo?", "Ann is 30 years old."

var (
	client   = openai.NewClient(option.WithMaxRetries(0))
	model    = os.Getenv("CLIENTS_MODEL")
	embedder = os.Getenv("CLIENTS_EMBEDDER")
	base     = os.Getenv("CLIENTS_BASE")
	city     = map[string]any{
		"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"},
	}
	schema = map[string]any{
		"type": "object", "additionalProperties": false, "required": []string{"name", "age"},
		"properties": map[string]any{"name": map[string]any{"type": "string"}, "age": map[string]any{"type": "integer"}},
	}
)

type anyone struct {
	Name string `json:"name"`
	Age  int    `json:"age"`
}

func ask(text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:       model,
		Messages:    []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)},
		Temperature: openai.Float(0),
		MaxTokens:   openai.Int(200),
	}
}

func want(right bool, told any) error {
	if right {
		return nil
	}
	return fmt.Errorf("not as it should be: %+v", told)
}

func chat(ctx context.Context) error {
	whole, err := client.Chat.Completions.New(ctx, ask("Hello"))
	if err != nil {
		return err
	}
	stream := client.Chat.Completions.NewStreaming(ctx, ask("Hello"))
	all := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		all.AddChunk(stream.Current())
	}
	if stream.Err() != nil {
		return stream.Err()
	}
	return want(all.Choices[0].Message.Content == whole.Choices[0].Message.Content, all.Choices)
}

func functions(ctx context.Context) error {
	asked := ask(weather)
	asked.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
		Name: "get_weather", Description: openai.String("Tell the weather in a city."), Parameters: city,
	})}
	said, err := client.Chat.Completions.New(ctx, asked)
	if err != nil {
		return err
	}
	message := said.Choices[0].Message
	if len(message.ToolCalls) != 1 || message.ToolCalls[0].Function.Arguments != `{"city": "Oslo"}` {
		return want(false, message)
	}
	answer := openai.ToolMessage("It is sunny in Oslo.", message.ToolCalls[0].ID)
	asked.Messages = append(asked.Messages, message.ToParam(), answer)
	said, err = client.Chat.Completions.New(ctx, asked)
	if err != nil {
		return err
	}
	return want(strings.Contains(said.Choices[0].Message.Content, "sunny"), said.Choices)
}

func held(ctx context.Context) error {
	asked := ask(person)
	asked.ResponseFormat = openai.ChatCompletionNewParamsResponseFormatUnion{
		OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name: "person", Schema: schema, Strict: openai.Bool(true),
		}},
	}
	said, err := client.Chat.Completions.New(ctx, asked)
	if err != nil {
		return err
	}
	var found anyone
	if err := json.Unmarshal([]byte(said.Choices[0].Message.Content), &found); err != nil {
		return err
	}
	return want(found == anyone{"Ann", 30}, found)
}

func response(ctx context.Context) error {
	asked := responses.ResponseNewParams{
		Model: model, Temperature: openai.Float(0), MaxOutputTokens: openai.Int(20),
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hello")},
	}
	whole, err := client.Responses.New(ctx, asked)
	if err != nil {
		return err
	}
	stream, text := client.Responses.NewStreaming(ctx, asked), ""
	for stream.Next() {
		if event := stream.Current(); event.Type == "response.output_text.delta" {
			text += event.Delta
		}
	}
	if stream.Err() != nil {
		return stream.Err()
	}
	return want(text == whole.OutputText(), text)
}

func job(ctx context.Context) error {
	row := `{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}` + "\n"
	rows := openai.File(bytes.NewReader([]byte(strings.Repeat(row, 10))), "rows.jsonl", "application/jsonl")
	file, err := client.Files.New(ctx, openai.FileNewParams{File: rows, Purpose: openai.FilePurposeFineTune})
	if err != nil {
		return err
	}
	made, err := client.FineTuning.Jobs.New(ctx, openai.FineTuningJobNewParams{
		Model: openai.FineTuningJobNewParamsModel(base), TrainingFile: file.ID,
	})
	if err != nil {
		return err
	}
	done, err := client.FineTuning.Jobs.Cancel(ctx, made.ID)
	if err != nil {
		return err
	}
	pages, last := client.FineTuning.Jobs.ListEventsAutoPaging(ctx, made.ID, openai.FineTuningJobListEventsParams{Limit: openai.Int(1)}), ""
	for pages.Next() {
		last = pages.Current().Message
	}
	if pages.Err() != nil {
		return pages.Err()
	}
	return want(done.Status == "cancelled" && last == "Created fine-tuning job: "+made.ID, last)
}

func vectors(ctx context.Context) error {
	found, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: embedder, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"the red key", "the blue kettle"}},
	})
	if err != nil {
		return err
	}
	return want(len(found.Data) == 2 && len(found.Data[1].Embedding) == 16, found)
}

func refusal(ctx context.Context) error {
	_, err := client.Models.Get(ctx, "nobody")
	var told *openai.Error
	return want(errors.As(err, &told) && told.StatusCode == 404 && told.Code == "model_not_found", err)
}

func ofAzure(ctx context.Context) error {
	root := strings.TrimSuffix(os.Getenv("OPENAI_BASE_URL"), "/v1")
	own := openai.NewClient(
		azure.WithEndpoint(root, "2024-10-21"), azure.WithAPIKey(os.Getenv("OPENAI_API_KEY")),
		azure.WithUnsafeAllowHTTP(), option.WithMaxRetries(0), // it wants TLS elsewhere than on its own machine
	)
	said, err := own.Chat.Completions.New(ctx, ask("Hello"))
	if err != nil {
		return err
	}
	return want(said.Choices[0].FinishReason != "", said)
}

func main() {
	cells := []struct {
		what string
		use  func(context.Context) error
	}{
		{"chat, whole and streamed", chat}, {"a function is called, its answer told", functions},
		{"response_format with a schema", held}, {"responses, whole and streamed", response},
		{"files, a job, its events", job}, {"embeddings", vectors}, {"errors", refusal}, {"azure", ofAzure},
	}
	wanted := regexp.MustCompile(strings.Join(os.Args[1:], ""))
	for _, each := range cells {
		if !wanted.MatchString(each.what) {
			continue
		}
		ctx, done := context.WithTimeout(context.Background(), time.Minute)
		told := map[string]any{"what": each.what, "why": nil}
		if err := each.use(ctx); err != nil {
			told["why"] = err.Error()
		}
		done()
		line, _ := json.Marshal(told)
		fmt.Println(string(line))
	}
}
