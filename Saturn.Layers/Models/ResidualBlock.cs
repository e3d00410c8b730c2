using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers.Models;

/// <summary>
/// A residual block (He et al., 2016): two 3×3 convolutions, or 1×1, 3×3, 1×1 of a bottleneck with the stride on the 3×3, each with batch norm; the last norm, the shortcut and the activation are
/// one pass. The shortcut is the identity, read through a map once channels have been removed, or a strided 1×1 convolution with batch norm. When all channels of an inner group are gone, the block
/// drops its branch and computes f(shortcut + β) with β of its last norm.
/// </summary>
internal sealed class ResidualBlock : Module
{
    private readonly List<ConvBatchNormRelu> inner = [];
    private readonly ConvBatchNormRelu? last;
    private readonly ConvBatchNormRelu? downsample;
    private readonly Parameter beta;
    private readonly ChannelActivity output;
    private readonly Activation activation;
    private bool branchRemoved;

    /// <summary>Creates a block.</summary>
    /// <param name="device">The device.</param>
    /// <param name="name">The block's name in the model, under which the plan knows its groups.</param>
    /// <param name="plan">Channel counts.</param>
    /// <param name="inputChannels">Channels that come in now.</param>
    /// <param name="innerWidth">Dense channels of the inner groups.</param>
    /// <param name="outputWidth">Dense channels of the output.</param>
    /// <param name="stride">Pixels.</param>
    /// <param name="bottleneck">Whether it has three convolutions.</param>
    /// <param name="projects">Whether the shortcut is a convolution.</param>
    /// <param name="activation">The activation function.</param>
    public ResidualBlock(
        Device device, string name, ChannelPlan plan, int inputChannels, int innerWidth, int outputWidth, int stride, bool bottleneck, bool projects, Activation activation)
        : base(device)
    {
        this.activation = activation;
        OutputChannels = plan[name, outputWidth];
        int[] widths = bottleneck ? [plan.OrNone(name + ".conv1", innerWidth), plan.OrNone(name + ".conv2", innerWidth)] : [plan.OrNone(name + ".conv1", innerWidth)];
        branchRemoved = widths.Contains(0);
        for (int i = 0; i < widths.Length && branchRemoved; i++)
        {
            // The group stays on record as empty, as it does when surgery removes the branch, so that the next checkpoint knows of it.
            Register($"conv{i + 1}", new ChannelActivity(device, 0, activation));
        }

        int channels = inputChannels;
        for (int i = 0; i < widths.Length && !branchRemoved; i++)
        {
            bool strided = bottleneck ? i == 1 : i == 0;
            int kernel = bottleneck && i == 0 ? 1 : 3;
            ConvBatchNormRelu layer = new(device, channels, widths[i], kernel, ConvolutionSettings.Square(strided ? stride : 1, kernel / 2), activation);
            Register($"conv{i + 1}", layer.Convolution);
            Register($"bn{i + 1}", layer.Norm);
            Register($"conv{i + 1}", layer.Activity!).AllRemoved = RemoveBranch;
            inner.Add(layer);
            channels = widths[i];
        }

        string final = $"{widths.Length + 1}";
        if (branchRemoved)
        {
            beta = Register(new Parameter($"bn{final}.bias", ParameterRole.NormalizationShift, Tensor.AllocateUnscoped(device, new Shape(OutputChannels))));
            output = new ChannelActivity(device, OutputChannels, activation);
        }
        else
        {
            int kernel = bottleneck ? 1 : 3;
            last = new ConvBatchNormRelu(device, channels, OutputChannels, kernel, ConvolutionSettings.Square(1, kernel / 2), activation);
            Register("conv" + final, last.Convolution);
            Register("bn" + final, last.Norm);
            beta = last.Norm.Beta;
            output = last.Activity!;
        }

        Register("", output);
        if (projects)
        {
            downsample = new ConvBatchNormRelu(device, inputChannels, OutputChannels, 1, ConvolutionSettings.Square(stride), Activation.Identity);
            Register("downsample.0", downsample.Convolution);
            Register("downsample.1", downsample.Norm);
        }
        else
        {
            Shortcut = Own(new Shortcut());
            if (inputChannels != OutputChannels)
            {
                // Until a checkpoint brings the true map: equal numbers face each other.
                Shortcut.SetMap(new ShortcutMap([.. Enumerable.Range(0, OutputChannels).Select(c => c < inputChannels ? c : -1)], inputChannels));
            }
        }
    }

    /// <summary>Channels of the output now.</summary>
    public int OutputChannels { get; }

    /// <summary>The identity shortcut; null where the shortcut is a convolution.</summary>
    public Shortcut? Shortcut { get; }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input)
    {
        Tensor shortcut = downsample is null ? input : downsample.Forward(input);
        if (branchRemoved)
        {
            return ForwardWithoutBranch(shortcut);
        }

        Tensor x = input;
        for (int i = 0; i < inner.Count; i++)
        {
            x = inner[i].Forward(x);
        }

        return last!.Forward(x, shortcut, Shortcut);
    }

    private Tensor ForwardWithoutBranch(Tensor shortcut)
    {
        // β in every pixel takes the branch's place: a broadcast sum with zeros of the output's shape.
        Tensor zeros = Tensor.Zeros(Device, shortcut.Shape.With(-1, beta.Rows));
        Tensor constant = Operation.Add(zeros, beta.Value);
        return Operation.Activate(Operation.ResidualAdd(constant, shortcut, Shortcut), activation, output);
    }

    private void RemoveBranch()
    {
        branchRemoved = true;
        foreach (ConvBatchNormRelu layer in inner)
        {
            Drop(layer.Convolution.Weight, layer.Norm.Gamma, layer.Norm.Beta, layer.Norm.RunningMean, layer.Norm.RunningVariance);
            layer.Activity!.Resize(0);
        }

        Drop(last!.Convolution.Weight, last.Norm.Gamma, last.Norm.RunningMean, last.Norm.RunningVariance);

        static void Drop(params ReadOnlySpan<Parameter> parameters)
        {
            foreach (Parameter parameter in parameters)
            {
                parameter.Dispose();
            }
        }
    }
}
