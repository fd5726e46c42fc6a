// openai-java: chats, streams, functions, schemas, Responses, files, jobs, embeddings, Azure. One JSON line for each cell.

import static java.util.stream.Collectors.joining;

import com.fasterxml.jackson.annotation.JsonClassDescription;
import com.fasterxml.jackson.annotation.JsonTypeName;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.openai.azure.AzureOpenAIServiceVersion;
import com.openai.azure.AzureUrlPathMode;
import com.openai.azure.credential.AzureApiKeyCredential;
import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.core.JsonValue;
import com.openai.core.MultipartField;
import com.openai.errors.BadRequestException;
import com.openai.errors.NotFoundException;
import com.openai.errors.OpenAIServiceException;
import com.openai.errors.UnauthorizedException;
import com.openai.helpers.ChatCompletionAccumulator;
import com.openai.helpers.ResponseAccumulator;
import com.openai.models.FunctionDefinition;
import com.openai.models.FunctionParameters;
import com.openai.models.ResponseFormatJsonSchema;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import com.openai.models.chat.completions.ChatCompletionFunctionTool;
import com.openai.models.chat.completions.ChatCompletionMessage;
import com.openai.models.chat.completions.ChatCompletionMessageFunctionToolCall;
import com.openai.models.chat.completions.ChatCompletionToolMessageParam;
import com.openai.models.embeddings.EmbeddingCreateParams;
import com.openai.models.files.FileCreateParams;
import com.openai.models.files.FileListParams;
import com.openai.models.files.FileObject;
import com.openai.models.files.FilePurpose;
import com.openai.models.finetuning.jobs.FineTuningJob;
import com.openai.models.finetuning.jobs.FineTuningJobEvent;
import com.openai.models.finetuning.jobs.JobCreateParams;
import com.openai.models.finetuning.jobs.JobListEventsParams;
import com.openai.models.responses.EasyInputMessage;
import com.openai.models.responses.Response;
import com.openai.models.responses.ResponseCreateParams;
import com.openai.models.responses.ResponseInputItem;
import com.openai.models.responses.StructuredResponse;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.regex.Pattern;

class Main {
    static final String WEATHER = "What is the weather in Oslo?", PERSON = "Ann is 30 years old.", SUNNY = "It is sunny in Oslo.";
    static final String BASE_URL = System.getenv("OPENAI_BASE_URL"), MODEL = System.getenv("CLIENTS_MODEL");
    static final ObjectMapper JSON = new ObjectMapper();
    static final String ROWS =
            """
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
            """.repeat(10);
    static final String CITY =
            """
            {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}""";
    static final String SCHEMA =
            """
            {"type": "object", "additionalProperties": false, "required": ["name", "age"],
             "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}""";
    static final OpenAIClient CLIENT = own().fromEnv().build();
    static final Map<String, Use> CELLS = new LinkedHashMap<>();

    static {
        CELLS.put("chat, whole and streamed", Main::chat);
        CELLS.put("a function is called, its answer told", Main::functions);
        CELLS.put("a function of a class, whole and streamed", Main::functionOfClass);
        CELLS.put("response_format with a schema", Main::held);
        CELLS.put("response_format of a class, whole and streamed", Main::heldByClass);
        CELLS.put("responses, whole and streamed", Main::response);
        CELLS.put("responses with a text format of a class", Main::responseOfClass);
        CELLS.put("responses call a function, whole and streamed", Main::responseFunctions);
        CELLS.put("files", Main::files);
        CELLS.put("files, a job, its events", Main::job);
        CELLS.put("embeddings", Main::vectors);
        CELLS.put("errors by their classes", Main::refusals);
        CELLS.put("azure, by deployment and by /openai/v1", Main::ofAzure);
    }

    interface Use {
        void run() throws Exception;
    }

    static class Person {
        public String name;
        public int age;
    }

    @JsonTypeName("get_weather")
    @JsonClassDescription("Tell the weather in a city.")
    static class Weather {
        public String city;
    }

    static OpenAIOkHttpClient.Builder own() {
        return OpenAIOkHttpClient.builder().maxRetries(0).timeout(Duration.ofMinutes(1)).responseValidation(true);
    }

    static ChatCompletionCreateParams.Builder ask(String text) {
        return ChatCompletionCreateParams.builder().model(MODEL).addUserMessage(text).temperature(0).maxTokens(200);
    }

    static ResponseCreateParams.Builder respond(String text) {
        return ResponseCreateParams.builder().model(MODEL).input(text).temperature(0).maxOutputTokens(200);
    }

    static Map<String, JsonValue> json(String text) throws Exception {
        return JSON.readValue(text, new TypeReference<>() {});
    }

    static void same(Object found, Object wanted) {
        want(Objects.equals(found, wanted), found);
    }

    static void want(boolean right, Object told) {
        if (!right) throw new AssertionError("not as it should be: " + told);
    }

    static void isAnn(Person found) {
        same(found.name + found.age, "Ann30");
    }

    static ChatCompletionMessage message(ChatCompletionCreateParams asked) {
        return CLIENT.chat().completions().create(asked).choices().get(0).message();
    }

    static ChatCompletionAccumulator streamed(ChatCompletionCreateParams asked) {
        var all = ChatCompletionAccumulator.create();
        try (var stream = CLIENT.chat().completions().createStreaming(asked)) {
            stream.stream().forEach(all::accumulate);
        }
        return all;
    }

    static ResponseAccumulator streamed(ResponseCreateParams asked) {
        var all = ResponseAccumulator.create();
        try (var stream = CLIENT.responses().createStreaming(asked)) {
            stream.stream().forEach(all::accumulate);
        }
        return all;
    }

    static void chat() {
        var asked = ask("Hello").build();
        var whole = message(asked).content();
        want(whole.isPresent(), whole);
        same(streamed(asked).chatCompletion().choices().get(0).message().content(), whole);
    }

    static void functions() throws Exception {
        var parameters = FunctionParameters.builder().putAllAdditionalProperties(json(CITY)).build();
        var function = FunctionDefinition.builder().name("get_weather").description("Tell the weather in a city.");
        var tool = ChatCompletionFunctionTool.builder().function(function.parameters(parameters).build()).build();
        called(ask(WEATHER).addTool(tool));
    }

    static void functionOfClass() {
        var asked = ask(WEATHER).addTool(Weather.class);
        var call = call(streamed(asked.build()).chatCompletion().choices().get(0).message());
        same(call.function().arguments(Weather.class).city, "Oslo");
        called(asked);
    }

    static void called(ChatCompletionCreateParams.Builder asked) {
        var message = message(asked.build());
        var call = call(message);
        same(call.function().arguments(), "{\"city\": \"Oslo\"}");
        var answer = ChatCompletionToolMessageParam.builder().toolCallId(call.id()).content(SUNNY).build();
        var said = message(asked.addMessage(message).addMessage(answer).build()).content();
        want(said.orElse("").contains("sunny"), said);
    }

    static ChatCompletionMessageFunctionToolCall call(ChatCompletionMessage message) {
        var calls = message.toolCalls().orElse(List.of());
        want(calls.size() == 1 && calls.get(0).asFunction().function().name().equals("get_weather"), message);
        return calls.get(0).asFunction();
    }

    static void held() throws Exception {
        var schema = ResponseFormatJsonSchema.JsonSchema.Schema.builder().putAllAdditionalProperties(json(SCHEMA)).build();
        var format = ResponseFormatJsonSchema.JsonSchema.builder().name("person").schema(schema).strict(true).build();
        var said = message(ask(PERSON).jsonSchemaResponseFormat(format).build()).content();
        isAnn(JSON.readValue(said.orElse(""), Person.class));
    }

    static void heldByClass() {
        var asked = ask(PERSON).responseFormat(Person.class).build();
        isAnn(CLIENT.chat().completions().create(asked).choices().get(0).message().content().orElseThrow());
        isAnn(streamed(asked.rawParams()).chatCompletion(Person.class).choices().get(0).message().content().orElseThrow());
    }

    static void response() {
        var asked = respond("Hello").build();
        var whole = text(CLIENT.responses().create(asked));
        want(!whole.isEmpty(), whole);
        same(text(streamed(asked).response()), whole);
        try (var stream = CLIENT.responses().createStreaming(asked)) {
            same(stream.stream().flatMap(each -> each.outputTextDelta().stream()).map(each -> each.delta()).collect(joining()), whole);
        }
    }

    static String text(Response said) {
        var messages = said.output().stream().flatMap(each -> each.message().stream());
        return messages.flatMap(each -> each.content().stream()).map(each -> each.asOutputText().text()).collect(joining());
    }

    static void responseOfClass() {
        var asked = respond(PERSON).text(Person.class).build();
        isAnn(found(CLIENT.responses().create(asked)));
        isAnn(found(streamed(asked.rawParams()).response(Person.class)));
    }

    static <T> T found(StructuredResponse<T> said) {
        return said.output().get(0).asMessage().content().get(0).asOutputText();
    }

    static void responseFunctions() {
        var asked = respond(WEATHER).addTool(Weather.class);
        var streamed = streamed(asked.build()).response().output();
        same(streamed.get(0).asFunctionCall().arguments(Weather.class).city, "Oslo");
        var said = CLIENT.responses().create(asked.build()).output();
        var call = said.get(0).asFunctionCall();
        same(said.size() + call.name() + call.arguments(), "1get_weather{\"city\": \"Oslo\"}");
        var question = EasyInputMessage.builder().role(EasyInputMessage.Role.USER).content(WEATHER).build();
        var answer = ResponseInputItem.FunctionCallOutput.builder().callId(call.callId()).output(SUNNY).build();
        var back = List.of(
                ResponseInputItem.ofEasyInputMessage(question),
                ResponseInputItem.ofFunctionCall(call),
                ResponseInputItem.ofFunctionCallOutput(answer));
        var told = text(CLIENT.responses().create(asked.inputOfResponse(back).build()));
        want(told.contains("sunny"), told);
    }

    static FileObject upload(String name) {
        var rows = MultipartField.<InputStream>builder().value(new ByteArrayInputStream(ROWS.getBytes())).filename(name).build();
        return CLIENT.files().create(FileCreateParams.builder().file(rows).purpose(FilePurpose.FINE_TUNE).build());
    }

    static void files() throws Exception {
        var made = List.of(upload("rows-0.jsonl"), upload("rows-1.jsonl"));
        var first = made.get(0);
        same(List.of(first.bytes(), first.filename()), List.of((long) ROWS.length(), "rows-0.jsonl"));
        same(CLIENT.files().retrieve(first.id()).id(), first.id());
        var pages = CLIENT.files().list(FileListParams.builder().limit(1).purpose("fine-tune").build());
        var ids = pages.autoPager().stream().map(FileObject::id).toList();
        same(ids.subList(0, 2), List.of(made.get(1).id(), first.id()));
        try (var content = CLIENT.files().content(first.id())) {
            same(new String(content.body().readAllBytes()), ROWS);
        }
        made.forEach(each -> want(CLIENT.files().delete(each.id()).deleted(), each));
        refused(NotFoundException.class, () -> CLIENT.files().retrieve(first.id()));
    }

    static void job() {
        var jobs = CLIENT.fineTuning().jobs();
        var asked = JobCreateParams.builder().model(System.getenv("CLIENTS_BASE")).trainingFile(upload("rows.jsonl").id()).build();
        var made = jobs.create(asked);
        same(jobs.cancel(made.id()).status(), FineTuningJob.Status.CANCELLED);
        same(jobs.retrieve(made.id()).status(), FineTuningJob.Status.CANCELLED);
        want(jobs.list().autoPager().stream().anyMatch(each -> each.id().equals(made.id())), made);
        var pages = jobs.listEvents(made.id(), JobListEventsParams.builder().limit(1).build());
        var events = pages.autoPager().stream().map(FineTuningJobEvent::message).toList();
        same(events.get(events.size() - 1), "Created fine-tuning job: " + made.id());
    }

    static void vectors() {
        var texts = List.of("the red key", "the blue kettle");
        var asked = EmbeddingCreateParams.builder().model(System.getenv("CLIENTS_EMBEDDER")).inputOfArrayOfStrings(texts).build();
        var found = CLIENT.embeddings().create(asked).data();
        same(List.of(found.size(), found.get(1).embedding().size()), List.of(2, 16));
    }

    static <T extends OpenAIServiceException> T refused(Class<T> kind, Runnable use) {
        try {
            use.run();
        } catch (OpenAIServiceException error) {
            want(kind.isInstance(error), error);
            return kind.cast(error);
        }
        throw new AssertionError("not refused");
    }

    static void refusals() {
        var unknown = refused(NotFoundException.class, () -> CLIENT.models().retrieve("nobody"));
        same(List.of(unknown.statusCode(), unknown.code()), List.of(404, Optional.of("model_not_found")));
        want(unknown.getMessage().contains("nobody"), unknown);
        var stranger = own().baseUrl(BASE_URL).apiKey("sk-no").build();
        refused(UnauthorizedException.class, () -> stranger.models().list());
        refused(BadRequestException.class, () -> message(ask("Hello").temperature(9).build()));
    }

    static void ofAzure() {
        var root = BASE_URL.replaceFirst("/v1$", "");
        var key = AzureApiKeyCredential.create(System.getenv("OPENAI_API_KEY"));
        var byDeployment = own().baseUrl(root).azureUrlPathMode(AzureUrlPathMode.LEGACY)
                .azureServiceVersion(AzureOpenAIServiceVersion.getV2024_10_21());
        var unified = own().baseUrl(root + "/openai/v1").azureUrlPathMode(AzureUrlPathMode.UNIFIED);
        for (var each : List.of(byDeployment, unified)) {
            var azure = each.credential(key).build();
            var said = azure.chat().completions().create(ask("Hello").build()).choices().get(0);
            want(said.message().content().isPresent(), said);
        }
    }

    static String why(Use use) {
        try {
            use.run();
            return null;
        } catch (Exception | AssertionError error) {
            error.printStackTrace();
            return error.getClass().getSimpleName() + ": " + error.getMessage();
        }
    }

    public static void main(String... args) throws Exception {
        var wanted = Pattern.compile(String.join("", args));
        for (var each : CELLS.entrySet()) {
            if (!wanted.matcher(each.getKey()).find()) continue;
            var told = new LinkedHashMap<String, String>();
            told.put("what", each.getKey());
            told.put("why", why(each.getValue()));
            System.out.println(JSON.writeValueAsString(told));
        }
        System.exit(0);
    }
}
