using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench.Works;

/// <summary>
/// What a convolution does by the way, each beside the same result in separate passes: statistics of its output for the batch normalization behind it, and in inference that normalization and its ReLU.
/// </summary>
internal static class FusionWorks
{
    private static readonly (int Size, int Channels)[] Layers = [(32, 64), (16, 128), (8, 256), (4, 512), (32, 37), (16, 219)];

    public static IEnumerable<KernelWork> Of(WorkScale scale)
    {
        foreach ((int size, int channels) in Layers)
        {
            int side = scale.Image(size), width = scale.Width(channels);
            ConvolutionShape shape = new(scale.Batch, side, side, width, width, 3, 3, 1, 1, 1, 1);
            long arrays = shape.Input.StorageCount + shape.Weight.StorageCount + shape.Output.StorageCount;
            KernelWork Work(string name, int passesOverOutput, Func<Device, WorkArrays, Action> prepare) => new(
                "fusion", $"{width}→{width} 3×3 {side}² {name}", WorkLimit.Products, element => (arrays + passesOverOutput * shape.Output.StorageCount) * element, 2.0 * shape.MultiplyAdds, prepare);

            yield return Work("forward, statistics by the way", 0, (device, made) => PrepareStatistics(device, made, shape, fused: true));
            yield return Work("forward, then statistics", 1, (device, made) => PrepareStatistics(device, made, shape, fused: false));
            yield return Work("inference, normalised by the way", 0, (device, made) => PrepareInference(device, made, shape, fused: true));
            yield return Work("inference, then normalised", 2, (device, made) => PrepareInference(device, made, shape, fused: false));
        }
    }

    private static Action PrepareStatistics(Device device, WorkArrays arrays, ConvolutionShape shape, bool fused)
    {
        BatchStatistics form = fused ? device.Convolution.Statistics(shape) : BatchStatistics.Moments;

        if (fused && form.AreMoments && !arrays.AreReference)
        {
            throw new NotSupportedException($"in {device.Precision.ToString().ToLowerInvariant()} this convolution leaves its statistics to a second pass");
        }

        int channels = shape.OutputChannels, rows = shape.Output.Rows;
        Shape vector = new(channels);
        BatchNormShape norm = new(rows, channels, 1e-5f, 0.1f);
        DeviceBuffer input = arrays.Activation(shape.Input), weight = arrays.Activation(shape.Weight), output = arrays.ActivationResult("output", shape.Output);
        DeviceBuffer gamma = arrays.Parameter(vector, 0.1f, 1), beta = arrays.Parameter(vector, 0.1f), mean = arrays.Parameter(vector), variance = arrays.Parameter(vector, positive: true);
        DeviceBuffer statistics = arrays.Scratch(form.ByteLength(channels), form.AreMoments ? ElementType.Float64 : ElementType.Float32);
        DeviceBuffer saved = arrays.Result("saved statistics", new Shape(4, channels));
        return () =>
        {
            device.Convolution.Forward(shape, input, weight, DeviceBuffer.None, output, fused ? statistics : DeviceBuffer.None);
            if (!fused)
            {
                device.Normalization.BatchMoments(rows, channels, output, statistics);
            }

            device.Normalization.PrepareTraining(norm, form, statistics, gamma, beta, mean, variance, saved, Activation.Relu, ActivityReport.None);
        };
    }

    private static Action PrepareInference(Device device, WorkArrays arrays, ConvolutionShape shape, bool fused)
    {
        bool folds = fused && device.Convolution.FoldsNormalization(shape);
        if (fused && !folds && !arrays.AreReference)
        {
            throw new NotSupportedException($"in {device.Precision.ToString().ToLowerInvariant()} the normalization behind this convolution is a second pass");
        }

        int channels = shape.OutputChannels;
        Shape vector = new(channels);
        BatchNormShape norm = new(shape.Output.Rows, channels, 1e-5f, 0.1f);
        NormalizationEpilogue epilogue = new(Activation.Relu);
        DeviceBuffer input = arrays.Activation(shape.Input), weight = arrays.Activation(shape.Weight), output = arrays.ActivationResult("output", shape.Output);
        DeviceBuffer gamma = arrays.Parameter(vector, 0.1f, 1), beta = arrays.Parameter(vector, 0.1f), mean = arrays.Parameter(vector), variance = arrays.Parameter(vector, 0.1f, 1, positive: true);
        DeviceBuffer saved = arrays.Scratch(4L * vector.Pitch * sizeof(float));
        device.Normalization.PrepareInference(norm, gamma, beta, mean, variance, saved);
        return () =>
        {
            if (folds)
            {
                device.Convolution.ForwardNormalized(shape, input, weight, DeviceBuffer.None, saved, epilogue, output, ActivityReport.None);
                return;
            }

            device.Convolution.Forward(shape, input, weight, DeviceBuffer.None, output, DeviceBuffer.None);
            device.Normalization.Apply(norm, epilogue, output, saved, output, ActivityReport.None);
        };
    }
}
