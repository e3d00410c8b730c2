using System.Text.Json.Nodes;
using Saturn.Bench.Gpu;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench;

/// <summary>A direction of a layer's computation.</summary>
public enum LayerPass
{
    /// <summary>From input to output.</summary>
    Forward,

    /// <summary>From the output's gradient to the input's.</summary>
    DataGradient,

    /// <summary>From the output's gradient to the filter's.</summary>
    FilterGradient,
}

/// <summary>Work that a peer process can do, as the fields of its request; tools/peers/torch_cpu.py and torch_gpu.py say what each means.</summary>
public sealed class PeerWork
{
    private readonly KeyValuePair<string, JsonNode>[] fields;

    private PeerWork(params KeyValuePair<string, JsonNode>[] fields)
    {
        this.fields = fields;
    }

    /// <summary>One training step of ResNet-18 for small images with SGD, momentum and weight decay.</summary>
    /// <param name="step">Batch and channel counts.</param>
    /// <param name="threads">Threads to compute with.</param>
    public static PeerWork TrainStep(StepCase step, int threads) => new(
        new("work", "train_step"), new("batch", step.Batch), new("channels", Array(step.Channels)), new("inner", Array(step.InnerChannels)),
        new("threads", threads));

    /// <summary>One pass of a convolution without bias, with equal strides and paddings in both directions, one group and no dilation.</summary>
    /// <exception cref="ArgumentException">The peer cannot be asked for this shape.</exception>
    public static PeerWork Convolution(LayerPass pass, in ConvolutionShape shape, int threads)
    {
        if (shape.KernelHeight != shape.KernelWidth || shape.StrideHeight != shape.StrideWidth || shape.PaddingHeight != shape.PaddingWidth
            || shape.DilationHeight != 1 || shape.DilationWidth != 1 || shape.Groups != 1)
        {
            throw new ArgumentException($"The peer runs square, undilated convolutions of one group, but the shape is {shape}.", nameof(shape));
        }

        return new PeerWork(FieldsOf(pass, shape, new("threads", threads)));
    }

    /// <summary>The same in groups. GPU peer only.</summary>
    public static PeerWork GroupedConvolution(LayerPass pass, in ConvolutionShape shape) => new(FieldsOf(pass, shape, new("groups", shape.Groups)));

    private static KeyValuePair<string, JsonNode>[] FieldsOf(LayerPass pass, in ConvolutionShape shape, KeyValuePair<string, JsonNode> further)
    {
        string name = pass switch
        {
            LayerPass.Forward => "forward",
            LayerPass.DataGradient => "data_gradient",
            LayerPass.FilterGradient => "filter_gradient",
            _ => throw new ArgumentOutOfRangeException(nameof(pass), pass, "Not a pass."),
        };
        return
        [
            new("work", "convolution"), new("pass", name), new("batch", shape.Batch), new("height", shape.InputHeight), new("width", shape.InputWidth),
            new("in", shape.InputChannels), new("out", shape.OutputChannels), new("kernel", shape.KernelHeight), new("stride", shape.StrideHeight),
            new("padding", shape.PaddingHeight), further,
        ];
    }

    /// <summary>Batch normalization over [batch, height, width, channels] with ReLU, forwards from the input alone or backwards.</summary>
    public static PeerWork BatchNorm(bool backward, int batch, int height, int width, int channels, int threads) => new(
        new("work", "batch_norm"), new("pass", backward ? "backward" : "forward"), new("batch", batch), new("height", height), new("width", width),
        new("in", channels), new("threads", threads));

    /// <summary>An SGD update with momentum and weight decay of equally large tensors.</summary>
    public static PeerWork Optimizer(int elements, int tensors, int threads) => new(
        new("work", "optimizer"), new("elements", elements), new("tensors", tensors), new("threads", threads));

    /// <summary>Batch normalization with ReLU over an image [batch, height, width, channels], with or without a residual sum, one direction. GPU peer only.</summary>
    public static PeerWork Normalization(bool backward, bool residual, in Shape image) => new(
        new("work", "normalization"), new("pass", backward ? "backward" : "forward"), new("residual", residual), new("batch", image[0]), new("height", image[1]), new("width", image[2]),
        new("in", image[3]));

    /// <summary>A fused update of equally large tensors with momentum or Adam, followed by L1 pressure and noise in passes of their own where wanted. GPU peer only.</summary>
    public static PeerWork Update(bool adam, bool demon, int elements, int tensors) => new(
        new("work", "update"), new("rule", adam ? "adam" : "sgd"), new("demon", demon), new("elements", elements), new("tensors", tensors));

    /// <summary>The global norm of equally large gradients, and their clipping. GPU peer only.</summary>
    public static PeerWork Clip(int elements, int tensors) => new(new("work", "clip"), new("elements", elements), new("tensors", tensors));

    /// <summary>A matrix product of rows × depth and depth × columns, either side stored transposed where wanted. GPU peer only.</summary>
    public static PeerWork Matrix(int rows, int columns, int depth, bool transposeLeft = false, bool transposeRight = false) => new(
        new("work", "matrix"), new("rows", rows), new("columns", columns), new("depth", depth), new("transpose_left", transposeLeft), new("transpose_right", transposeRight));

    /// <summary>Average pooling without padding, one direction. GPU peer only.</summary>
    public static PeerWork AveragePool(bool backward, in PoolingShape shape) => new(
        new("work", "average_pool"), new("pass", backward ? "backward" : "forward"), new("batch", shape.Batch), new("height", shape.InputHeight), new("width", shape.InputWidth), new("in", shape.Channels),
        new("kernel", shape.KernelHeight), new("stride", shape.StrideHeight));

    /// <summary>Softmax over the last dimension, one direction. GPU peer only.</summary>
    public static PeerWork Softmax(bool backward, int rows, int classes) => new(
        new("work", "softmax"), new("pass", backward ? "backward" : "forward"), new("rows", rows), new("classes", classes));

    /// <summary>The index of the largest of each row. GPU peer only.</summary>
    public static PeerWork ArgumentMaximum(int rows, int classes) => new(new("work", "argument_maximum"), new("rows", rows), new("classes", classes));

    /// <summary>An image [batch, height, width, channels] with its channels moved to the front. GPU peer only.</summary>
    public static PeerWork Permutation(in Shape image) => Image("permutation", image);

    /// <summary>Two images with their channels one behind the other. GPU peer only.</summary>
    public static PeerWork Concatenation(in Shape image) => Image("concatenation", image);

    private static PeerWork Image(string work, in Shape image) => new(
        new("work", work), new("batch", image[0]), new("height", image[1]), new("width", image[2]), new("in", image[3]));

    /// <summary>Maximum pooling, one direction. GPU peer only.</summary>
    public static PeerWork MaximumPool(bool backward, in PoolingShape shape) => new(
        new("work", "max_pool"), new("pass", backward ? "backward" : "forward"), new("batch", shape.Batch), new("height", shape.InputHeight), new("width", shape.InputWidth),
        new("in", shape.Channels), new("kernel", shape.KernelHeight), new("stride", shape.StrideHeight), new("padding", shape.PaddingHeight));

    /// <summary>Softmax cross entropy, forwards and backwards. GPU peer only.</summary>
    public static PeerWork CrossEntropy(int rows, int classes) => new(new("work", "cross_entropy"), new("rows", rows), new("classes", classes));

    /// <summary>One training step of a model at planned widths. GPU peer only.</summary>
    public static PeerWork ModelStep(ModelCase step) => new(
        new("work", "model_step"), new("model", step.Model), new("width", step.Width), new("batch", step.Batch), new("image", step.Image), new("classes", step.Classes),
        new("plan", new JsonObject([.. step.Plan.Select(group => new KeyValuePair<string, JsonNode?>(group.Key, group.Value))])));

    /// <summary>The same work under a precision policy, as PyTorch runs it by default or compiled.</summary>
    /// <param name="precision">The policy.</param>
    /// <param name="compiled">Whether <c>torch.compile(mode="max-autotune")</c> is used.</param>
    public PeerWork On(Precision precision, bool compiled) =>
        new([.. fields, new("precision", precision.ToString().ToLowerInvariant()), new("mode", compiled ? "compiled" : "eager")]);

    /// <summary>The request line, without a line break.</summary>
    /// <param name="request">What is to be done with the work: <c>run</c> or <c>peak_memory</c>.</param>
    /// <param name="warmup">Untimed repetitions.</param>
    /// <param name="repetitions">Timed repetitions.</param>
    public string ToRequest(string request, int warmup, int repetitions)
    {
        JsonObject line = new() { ["do"] = request };
        foreach ((string name, JsonNode value) in fields)
        {
            line[name] = value.DeepClone();
        }

        line["warmup"] = warmup;
        line["repetitions"] = repetitions;
        return line.ToJsonString();
    }

    private static JsonArray Array(IEnumerable<int> values) => new([.. values.Select(value => (JsonNode)value)]);
}
