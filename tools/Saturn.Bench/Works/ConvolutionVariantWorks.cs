using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench.Works;

/// <summary>
/// Convolutions beside the plain ones: data gradients that are added to what is there, or that read the gradient of a mapped shortcut; filter gradients with a bias; depthwise convolutions and narrow groups,
/// which run in float32 under every policy.
/// </summary>
internal static class ConvolutionVariantWorks
{
    public static IEnumerable<KernelWork> Of(WorkScale scale)
    {
        int side = scale.Image(32), channels = scale.Width(64);
        ConvolutionShape plain = new(scale.Batch, side, side, channels, channels, 3, 3, 1, 1, 1, 1);
        long x = plain.Input.StorageCount, y = plain.Output.StorageCount, w = plain.Weight.StorageCount;
        string sizes = $"{channels}→{channels} 3×3 {side}²";
        yield return new KernelWork(
            "convolution variants", $"data gradient added to another, {sizes}", WorkLimit.Products, element => (y + w + 2 * x) * element, 2.0 * plain.MultiplyAdds,
            (device, arrays) =>
            {
                DeviceBuffer gradient = arrays.Activation(plain.Output), weight = arrays.Activation(plain.Weight);
                DeviceBuffer result = arrays.AlsoResult("input gradient", arrays.Activation(plain.Input), plain.Input);
                return () => device.Convolution.DataGradient(plain, gradient, weight, result, GradientMode.Accumulate);
            });
        yield return new KernelWork(
            "convolution variants", $"data gradient with that of a mapped shortcut, {sizes}", WorkLimit.Products, element => (y + w + 2 * x) * element, 2.0 * plain.MultiplyAdds,
            (device, arrays) => PrepareMapped(device, arrays, plain));
        yield return new KernelWork(
            "convolution variants", $"filter and bias gradient, {sizes}", WorkLimit.Products, element => (x + y) * element + w * sizeof(float), 2.0 * plain.MultiplyAdds,
            (device, arrays) =>
            {
                DeviceBuffer input = arrays.Activation(plain.Input), gradient = arrays.Activation(plain.Output);
                DeviceBuffer result = arrays.Result("filter gradient", plain.Weight), bias = arrays.Result("bias gradient", new Shape(channels));
                return () => device.Convolution.FilterGradient(plain, input, gradient, result, bias, GradientMode.Overwrite);
            });
        foreach (int width in (int[])[1, 4])
        {
            foreach (LayerPass pass in Enum.GetValues<LayerPass>())
            {
                ConvolutionShape shape = plain with { Groups = channels / width };
                long floats = shape.Input.StorageCount + shape.Output.StorageCount + shape.Weight.StorageCount;
                string name = width == 1 ? $"depthwise {channels} 3×3 {side}²" : $"{sizes} in groups of {width}";
                yield return new KernelWork(
                    "convolution variants", $"{name} {ConvolutionWorks.Describe(pass)}", WorkLimit.Products, _ => floats * sizeof(float), 2.0 * shape.MultiplyAdds,
                    (device, arrays) => PrepareGrouped(device, arrays, shape, pass), PeerWork.GroupedConvolution(pass, shape))
                {
                    Arithmetic = _ => Precision.Fp32,
                };
            }
        }
    }

    private static Action PrepareMapped(Device device, WorkArrays arrays, ConvolutionShape shape)
    {
        DeviceBuffer gradient = arrays.Activation(shape.Output), weight = arrays.Activation(shape.Weight), result = arrays.ActivationResult("input gradient", shape.Input);
        DeviceBuffer sum = arrays.Activation(shape.Input), inverse = arrays.ChannelMap(shape.InputChannels, inverse: true);
        return () =>
        {
            if (device.Convolution.AddsShortcutGradients)
            {
                device.Convolution.DataGradient(shape, gradient, weight, result, GradientMode.Overwrite, new ShortcutGradient(sum, shape.InputChannels, inverse));
                return;
            }

            device.Convolution.DataGradient(shape, gradient, weight, result, GradientMode.Overwrite);
            device.Elementwise.MappedAddBackward(shape.Input, sum, shape.InputChannels, inverse, result, GradientMode.Accumulate);
        };
    }

    private static Action PrepareGrouped(Device device, WorkArrays arrays, ConvolutionShape shape, LayerPass pass)
    {
        DeviceBuffer input = pass == LayerPass.DataGradient ? arrays.Result("input gradient", shape.Input) : arrays.Parameter(shape.Input);
        DeviceBuffer weight = pass == LayerPass.FilterGradient ? arrays.Result("filter gradient", shape.Weight) : arrays.Parameter(shape.Weight);
        DeviceBuffer output = pass == LayerPass.Forward ? arrays.Result("output", shape.Output) : arrays.Parameter(shape.Output);
        return pass switch
        {
            LayerPass.Forward => () => device.Convolution.Forward(shape, input, weight, DeviceBuffer.None, output, DeviceBuffer.None),
            LayerPass.DataGradient => () => device.Convolution.DataGradient(shape, output, weight, input, GradientMode.Overwrite),
            _ => () => device.Convolution.FilterGradient(shape, input, output, weight, DeviceBuffer.None, GradientMode.Overwrite),
        };
    }
}
