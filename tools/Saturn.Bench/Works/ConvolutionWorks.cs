using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench.Works;

/// <summary>The three passes of the convolutions of ResNet-18 on 32×32 images, of ResNet-50 and VGG-16 on 224×224 ones, and of a row of widths as pruning leaves them.</summary>
internal static class ConvolutionWorks
{
    private sealed record Layer(string Net, int Size, int In, int Out, int Kernel = 3, int Stride = 1);

    private static readonly Layer[] Layers =
    [
        new("resnet18", 32, 3, 64), new("resnet18", 32, 64, 64), new("resnet18", 32, 64, 128, 3, 2), new("resnet18", 16, 128, 128), new("resnet18", 32, 64, 128, 1, 2),
        new("resnet18", 16, 128, 256, 3, 2), new("resnet18", 8, 256, 256), new("resnet18", 16, 128, 256, 1, 2), new("resnet18", 8, 256, 512, 3, 2), new("resnet18", 4, 512, 512),
        new("resnet18", 8, 256, 512, 1, 2),
        new("width", 32, 13, 13), new("width", 32, 24, 24), new("width", 32, 37, 37), new("width", 32, 40, 40), new("width", 32, 56, 56), new("width", 32, 64, 64), new("width", 16, 75, 75),
        new("width", 16, 219, 219), new("width", 16, 224, 224), new("width", 32, 31, 31), new("width", 16, 65, 65), new("width", 8, 127, 127), new("width", 4, 253, 253),
        new("resnet50", 224, 3, 64, 7, 2), new("resnet50", 56, 64, 64, 1), new("resnet50", 56, 64, 64), new("resnet50", 56, 64, 256, 1), new("resnet50", 56, 256, 64, 1),
        new("resnet50", 56, 256, 128, 1), new("resnet50", 56, 128, 128, 3, 2), new("resnet50", 56, 256, 512, 1, 2), new("resnet50", 28, 128, 512, 1), new("resnet50", 28, 512, 128, 1),
        new("resnet50", 28, 128, 128), new("resnet50", 28, 512, 256, 1), new("resnet50", 28, 256, 256, 3, 2), new("resnet50", 28, 512, 1024, 1, 2), new("resnet50", 14, 256, 1024, 1),
        new("resnet50", 14, 1024, 256, 1), new("resnet50", 14, 256, 256), new("resnet50", 14, 1024, 512, 1), new("resnet50", 14, 512, 512, 3, 2), new("resnet50", 14, 1024, 2048, 1, 2),
        new("resnet50", 7, 512, 2048, 1), new("resnet50", 7, 2048, 512, 1), new("resnet50", 7, 512, 512),
        new("vgg16", 224, 3, 64), new("vgg16", 224, 64, 64), new("vgg16", 112, 64, 128), new("vgg16", 112, 128, 128), new("vgg16", 56, 128, 256), new("vgg16", 56, 256, 256),
        new("vgg16", 28, 256, 512), new("vgg16", 28, 512, 512), new("vgg16", 14, 512, 512),
    ];

    /// <summary>The convolutions at a scale.</summary>
    internal static IEnumerable<(string Net, ConvolutionShape Shape)> Shapes(WorkScale scale) => Layers.Select(layer => (layer.Net, ShapeOf(layer, scale)));

    public static IEnumerable<KernelWork> Of(WorkScale scale) => Layers.SelectMany(layer => Enum.GetValues<LayerPass>().Select(pass => Work(layer, pass, scale)));

    private static KernelWork Work(Layer layer, LayerPass pass, WorkScale scale)
    {
        ConvolutionShape shape = ShapeOf(layer, scale);
        long activations = shape.Input.StorageCount + shape.Output.StorageCount;
        long weights = shape.Weight.StorageCount;
        string stride = layer.Stride == 1 ? "" : $" s{layer.Stride}";
        return new KernelWork(
            "convolution", $"{layer.Net} {shape.InputChannels}→{shape.OutputChannels} {layer.Kernel}×{layer.Kernel}{stride} {shape.InputHeight}² {Describe(pass)}", WorkLimit.Products,

            // The filter's gradient is float32 under every policy.
            element => activations * element + weights * (pass == LayerPass.FilterGradient ? sizeof(float) : element), 2.0 * shape.MultiplyAdds,
            (device, arrays) => Prepare(device, arrays, shape, pass), PeerWork.Convolution(pass, shape, 0), Target(layer, pass));
    }

    private static ConvolutionShape ShapeOf(Layer layer, WorkScale scale)
    {
        int size = scale.Image(layer.Size);
        int batch = layer.Net is "resnet50" or "vgg16" ? scale.LargeImageBatch : scale.Batch;
        return new ConvolutionShape(
            batch, size, size, scale.Width(layer.In), scale.Width(layer.Out), layer.Kernel, layer.Kernel, layer.Stride, layer.Stride, layer.Kernel / 2, layer.Kernel / 2);
    }

    private static Action Prepare(Device device, WorkArrays arrays, ConvolutionShape shape, LayerPass pass)
    {
        switch (pass)
        {
            case LayerPass.Forward:
                {
                    DeviceBuffer input = arrays.Activation(shape.Input), weight = arrays.Activation(shape.Weight), output = arrays.ActivationResult("output", shape.Output);
                    return () => device.Convolution.Forward(shape, input, weight, DeviceBuffer.None, output, DeviceBuffer.None);
                }

            case LayerPass.DataGradient:
                {
                    DeviceBuffer gradient = arrays.Activation(shape.Output), weight = arrays.Activation(shape.Weight), result = arrays.ActivationResult("input gradient", shape.Input);
                    return () => device.Convolution.DataGradient(shape, gradient, weight, result, GradientMode.Overwrite);
                }

            default:
                {
                    DeviceBuffer input = arrays.Activation(shape.Input), gradient = arrays.Activation(shape.Output), result = arrays.Result("filter gradient", shape.Weight);
                    return () => device.Convolution.FilterGradient(shape, input, gradient, result, DeviceBuffer.None, GradientMode.Overwrite);
                }
        }
    }

    private static RatioTarget Target(Layer layer, LayerPass pass) => (layer.In % 8 != 0 && layer.In > 3, pass) switch
    {
        (true, _) => new RatioTarget(1.2, 1.5),
        (_, LayerPass.Forward) => Math.Min(layer.In, layer.Out) >= 128 ? new RatioTarget(0.7, 0.9) : new RatioTarget(0.8, 1.0),
        (_, LayerPass.DataGradient) => new RatioTarget(0.7, 0.9),
        _ => new RatioTarget(0.6, 0.85),
    };

    internal static string Describe(LayerPass pass) => pass switch
    {
        LayerPass.Forward => "forward",
        LayerPass.DataGradient => "data gradient",
        _ => "filter gradient",
    };
}
