using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench.Works;

/// <summary>Batch normalization with ReLU, with and without a residual sum, forwards and backwards, and layer normalization.</summary>
internal static class NormalizationWorks
{
    private static readonly (int Size, int Channels)[] Images = [(32, 64), (16, 128), (8, 256), (4, 512), (32, 37), (16, 75), (16, 219), (32, 31)];

    public static IEnumerable<KernelWork> Of(WorkScale scale)
    {
        foreach ((int size, int channels) in Images)
        {
            int side = scale.Image(size);
            Shape image = new(scale.Batch, side, side, scale.Width(channels));
            foreach (bool residual in (bool[])[false, true])
            {
                foreach (bool backward in (bool[])[false, true])
                {
                    string name = $"normalise + {(residual ? "residual + " : "")}ReLU {(backward ? "backward" : "forward")} {image.Channels} {side}²";

                    // Forward: moments read x; the second pass reads x (and the residual) and writes y. Backward: x and dy twice, then dx. The residual's gradient is written too; which outputs were positive,
                    // which x alone does not tell then, takes one bit an element in either pass, whatever an implementation reads instead.
                    int passes = (backward, residual) switch { (false, false) => 3, (false, true) => 4, (true, false) => 5, _ => 6 };
                    long masks = backward && residual ? 2 * ((image.StorageCount + 7) / 8) : 0;
                    yield return new KernelWork(
                        "normalization", name, WorkLimit.Memory, element => passes * image.StorageCount * element + masks, 0,
                        (device, arrays) => backward ? PrepareBackward(device, arrays, image, residual) : PrepareForward(device, arrays, image, residual),
                        PeerWork.Normalization(backward, residual, image), new RatioTarget(2, 2.5));
                }
            }
        }

        Shape mapped = new(scale.Batch, scale.Image(32), scale.Image(32), scale.Width(64));
        yield return new KernelWork(
            "normalization", $"normalise + mapped residual + ReLU forward {mapped.Channels} {mapped[1]}²", WorkLimit.Memory, element => 4 * mapped.StorageCount * element, 0,
            (device, arrays) => Forward(device, arrays, mapped, residual: true, isResult: true, isMapped: true).Forward);
        yield return new KernelWork(
            "normalization", $"normalise + mapped residual + ReLU backward {mapped.Channels} {mapped[1]}²", WorkLimit.Memory,
            element => 6 * mapped.StorageCount * element + 2 * ((mapped.StorageCount + 7) / 8), 0, (device, arrays) => PrepareBackward(device, arrays, mapped, residual: true, isMapped: true));
        Shape tokens = new(scale.Batch * 65, scale.Width(192));
        yield return new KernelWork(
            "layer norm", $"layer norm forward {tokens.Channels}", WorkLimit.Memory, _ => 2 * tokens.StorageCount * sizeof(float), 0, (device, arrays) => PrepareLayer(device, arrays, tokens, backward: false));
        yield return new KernelWork(
            "layer norm", $"layer norm backward {tokens.Channels}", WorkLimit.Memory, _ => 5 * tokens.StorageCount * sizeof(float), 0, (device, arrays) => PrepareLayer(device, arrays, tokens, backward: true));
    }

    private static (BatchNormShape Shape, NormalizationEpilogue Epilogue, Action Forward, DeviceBuffer Input, DeviceBuffer Saved, DeviceBuffer Output) Forward(
        Device device, WorkArrays arrays, Shape image, bool residual, bool isResult, bool isMapped = false)
    {
        Shape vector = new(image.Channels);
        BatchNormShape shape = new(image.Rows, image.Channels, 1e-5f, 0.1f);
        DeviceBuffer input = arrays.Activation(image);
        NormalizationEpilogue epilogue = !residual ? new(Activation.Relu)
            : isMapped ? new(Activation.Relu, arrays.Activation(image), image.Channels, arrays.ChannelMap(image.Channels, inverse: false), arrays.ChannelMap(image.Channels, inverse: true))
            : new(Activation.Relu, arrays.Activation(image), image.Channels);
        DeviceBuffer gamma = arrays.Parameter(vector, 0.1f, 1), beta = arrays.Parameter(vector, 0.1f);
        DeviceBuffer mean = arrays.Parameter(vector), variance = arrays.Parameter(vector, positive: true);
        DeviceBuffer saved = arrays.Scratch(4L * vector.Pitch * sizeof(float)), moments = arrays.Scratch(2L * vector.Pitch * sizeof(double), ElementType.Float64);
        DeviceBuffer output = isResult ? arrays.ActivationResult("output", image) : arrays.Activation(image);
        return (shape, epilogue, Run, input, saved, output);

        void Run()
        {
            device.Normalization.BatchMoments(image.Rows, image.Channels, input, moments);
            device.Normalization.PrepareTraining(shape, BatchStatistics.Moments, moments, gamma, beta, mean, variance, saved, Activation.Relu, ActivityReport.None);
            device.Normalization.Apply(shape, epilogue, input, saved, output, ActivityReport.None);
        }
    }

    private static Action PrepareForward(Device device, WorkArrays arrays, Shape image, bool residual) => Forward(device, arrays, image, residual, isResult: true).Forward;

    private static Action PrepareBackward(Device device, WorkArrays arrays, Shape image, bool residual, bool isMapped = false)
    {
        var (shape, epilogue, forward, input, saved, output) = Forward(device, arrays, image, residual, isResult: false, isMapped);
        Shape vector = new(image.Channels);
        DeviceBuffer gradient = arrays.Activation(image);
        DeviceBuffer inputGradient = arrays.ActivationResult("input gradient", image);
        DeviceBuffer residualGradient = residual ? arrays.ActivationResult("residual gradient", image) : DeviceBuffer.None;
        DeviceBuffer gammaGradient = arrays.Result("γ gradient", vector), betaGradient = arrays.Result("β gradient", vector);
        forward();
        return () => device.Normalization.BatchBackward(
            shape, epilogue, true, input, saved, residual ? output : DeviceBuffer.None, gradient, gammaGradient, betaGradient, GradientMode.Overwrite, inputGradient, residualGradient,
            GradientMode.Overwrite);
    }

    private static Action PrepareLayer(Device device, WorkArrays arrays, Shape tokens, bool backward)
    {
        Shape vector = new(tokens.Channels);
        DeviceBuffer input = arrays.Parameter(tokens), gamma = arrays.Parameter(vector), beta = arrays.Parameter(vector), saved = arrays.Scratch(2L * tokens.Rows * sizeof(float));
        DeviceBuffer output = backward ? arrays.Parameter(tokens) : arrays.Result("output", tokens);
        void Forward() => device.Normalization.LayerForward(tokens.Rows, tokens.Channels, 1e-5f, input, gamma, beta, output, saved);
        if (!backward)
        {
            return Forward;
        }

        DeviceBuffer gradient = arrays.Parameter(tokens), inputGradient = arrays.Result("input gradient", tokens);
        DeviceBuffer gammaGradient = arrays.Result("γ gradient", vector), betaGradient = arrays.Result("β gradient", vector);
        Forward();
        return () => device.Normalization.LayerBackward(
            tokens.Rows, tokens.Channels, input, gamma, saved, gradient, inputGradient, GradientMode.Overwrite, gammaGradient, betaGradient, GradientMode.Overwrite);
    }
}
